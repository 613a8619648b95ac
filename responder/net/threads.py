"""Ask the system in a thread, and meet that there is none: a limit of processes or tasks, or memory, is reached."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def in_thread(ask: Callable[[], T]) -> T:
    """What `ask` gives.  Raises OSError as it does, and where no thread can be had (pthread_create(3): EAGAIN)."""
    try:
        return await trio.to_thread.run_sync(ask)
    except RuntimeError as error:  # Python's word for it
        raise OSError(errno.EAGAIN, str(error)) from error

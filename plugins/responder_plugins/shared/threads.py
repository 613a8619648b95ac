"""Call functions in threads, and wait where no thread can be had: a limit of processes or tasks, or memory, is reached.

For what goes on in the background, where a failure would lose what was begun.  Whoever answers a peer calls
`trio.to_thread.run_sync`: its failure counts as `busy`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio

from responder import Repeated, get_logger

T = TypeVar("T")

PAUSE: Final = 1.0
"""Seconds before a thread is asked for again."""

_log = get_logger(__name__)
_repeated = Repeated()


def is_no_thread(error: BaseException) -> bool:
    """Is it Python's word for that?  `threading` has no type for it."""
    return type(error) is RuntimeError and error.args == ("can't start new thread",)


async def in_thread(function: Callable[..., T], *args: object, abandon_on_cancel: bool = False) -> T:
    """As `trio.to_thread.run_sync`, as soon as there is a thread."""
    return await with_thread(trio.to_thread.run_sync, function, *args, abandon_on_cancel=abandon_on_cancel)


async def with_thread(call: Callable[..., Awaitable[T]], *args: Any, **options: Any) -> T:
    """What is awaited needs a thread: call it again until there is one."""
    while True:
        try:
            return await call(*args, **options)
        except RuntimeError as error:
            if not is_no_thread(error):
                raise
        held_back = _repeated.due("")
        if held_back is not None:
            _log.warning("no thread can be had, and one is waited for", held_back=held_back)
        await trio.sleep(PAUSE)

"""Call functions in threads, and meet that there is no thread: a limit of processes or tasks, or memory, is reached."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import TypeVar

from .errors import ThreadUnavailable

T = TypeVar("T")


def is_no_thread(error: BaseException) -> bool:
    """Is it Python's word for that?  `threading` has no type for it."""
    return type(error) is RuntimeError and error.args == ("can't start new thread",)


async def in_thread(function: Callable[..., T], *args: object, abandon_on_cancel: bool = False) -> T:
    """Return what the function returns (`trio.to_thread.run_sync`).  Raises ThreadUnavailable, and what it raises."""
    import trio  # noqa: PLC0415 - the commands that only look at plugins need none

    try:
        return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=abandon_on_cancel)
    except RuntimeError as error:
        if not is_no_thread(error):
            raise
        raise ThreadUnavailable from error


def start(thread: Thread) -> None:
    """Start it.  Raises ThreadUnavailable."""
    try:
        thread.start()
    except RuntimeError as error:
        if not is_no_thread(error):
            raise
        raise ThreadUnavailable from error

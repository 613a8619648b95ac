"""How long a plugin's code holds the loop up, step by step.

A coroutine holds it from one wait to the next, so each step is measured by itself: its whole life says nothing.  This
file refuses to judge.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator
from time import perf_counter
from typing import Any


@types.coroutine
def timed(awaitable: Awaitable[Any], note: Callable[[float], None]) -> Generator[Any, Any, Any]:
    """Await it; `note` is told the seconds of each step, also of one that raises."""
    steps = awaitable.__await__()
    value: Any = None
    error: BaseException | None = None
    while True:
        began = perf_counter()
        try:
            if error is not None:
                waited_for = steps.throw(error)
            elif value is None:
                waited_for = next(steps)
            else:
                waited_for = steps.send(value)
        except StopIteration as done:
            return done.value
        finally:
            note(perf_counter() - began)
        try:
            value, error = (yield waited_for), None
        except BaseException as raised:
            error = raised

"""How long a plugin's code holds the loop up, step by step.

A coroutine holds it from one wait to the next, so each step is measured by itself: its whole life says nothing.  This
file refuses to judge.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Generator
from contextvars import Context
from time import perf_counter
from types import CoroutineType
from typing import Any, Final

from .binding import Binding

NOT_BEGUN: Final = object()
"""In place of what a coroutine waits for that nobody has let begin."""


@types.coroutine
def timed(
    awaitable: Awaitable[Any], binding: Binding, context: Context, waits_for: Any = NOT_BEGUN
) -> Generator[Any, Any, Any]:
    """Await it, each step in `context`; `binding` is told the seconds of a step slower than its slowest, also of one
    that raises.

    `waits_for` is what a coroutine gave that somebody has let begin already.
    """
    run = context.run
    steps: Any
    step: Any
    if type(awaitable) is CoroutineType:
        steps = awaitable
        step, given = steps.send, None
    else:
        steps = run(awaitable.__await__)
        step, given = next, steps  # an iterator need not have `send`
    if waits_for is not NOT_BEGUN:
        step = None
    while True:
        if step is not None:
            began = perf_counter()
            try:
                waits_for = run(step, given)
            except StopIteration as done:
                return done.value
            finally:
                took = perf_counter() - began
                if took > binding.slowest:
                    binding.note_step(took)
        try:
            given = yield waits_for
            step = steps.send
        except BaseException as raised:
            given = raised
            step = steps.throw

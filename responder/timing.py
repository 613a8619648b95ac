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
    send: Callable[[], Any] = lambda: next(steps)  # noqa: E731 - replaced by what the loop answers
    while True:
        began = perf_counter()
        try:
            waited_for = send()
        except StopIteration as done:
            return done.value
        finally:
            note(perf_counter() - began)
        try:
            answer = yield waited_for
        except BaseException as error:
            send = _thrower(steps, error)
        else:
            send = _sender(steps, answer)


def _sender(steps: Generator[Any, Any, Any], answer: Any) -> Callable[[], Any]:
    return lambda: next(steps) if answer is None else steps.send(answer)


def _thrower(steps: Generator[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: steps.throw(error)

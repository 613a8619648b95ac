"""What the plugins under test raised: no test passes over it, unless it says that it expects it.

The server catches what they raise, as it would in a daemon.  As those who watch a daemon have it done, each exchange is
described (`Handler.describe`), and at the end counts and notes are taken (`Handler.counts`, `notes`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import attrs

from ..config.instance import Prepared
from ..daemon.status import events_of, notes_of
from ..daemon.words import Vocabulary
from ..dispatch.failures import WATCHER
from ..dispatch.observers import Observation
from ..log import Repeated
from ..net.types import Platform
from ..server.embedding import Server, serving


@attrs.define(eq=False)
class Failures:
    """Failures of the plugins of one server.  `expected`, a list, takes them; None: they are raised."""

    expected: list[BaseException] | None = None
    _untold: list[BaseException] = attrs.field(factory=list, init=False)

    def note(self, failure: BaseException) -> None:
        (self._untold if self.expected is None else self.expected).append(failure)

    def tell(self) -> None:
        """Raise what came since the last time: one as it is, several as a group."""
        untold, self._untold = self._untold, []
        if len(untold) == 1:
            raise untold[0]
        if untold:
            raise BaseExceptionGroup("the plugins failed", untold)


@asynccontextmanager
async def watched(
    prepared: Sequence[Prepared],
    failures: Failures,
    *,
    platform: Platform,
    grace: float,
    settle: float,
    state: Path | None,
) -> AsyncIterator[Server]:
    """A server whose plugins' failures are noted, and told when the context is left."""
    server = serving(prepared, platform=platform, grace=grace, settle=settle, state=state)
    try:
        async with AsyncExitStack() as stack:
            with _noting(failures):  # only the server's tasks keep it
                served = await stack.enter_async_context(server)
            vocabulary = Vocabulary(served._core)

            def describe(seen: Observation) -> None:
                vocabulary.words(seen)

            served._core.observers.add(describe)
            yield served
            with _noting(failures):
                for each in served._core.instances:
                    events_of(each, Repeated())
                    notes_of(each, Repeated())
    finally:
        failures.tell()


@contextmanager
def _noting(failures: Failures) -> Iterator[None]:
    token = WATCHER.set(failures.note)
    try:
        yield
    finally:
        WATCHER.reset(token)

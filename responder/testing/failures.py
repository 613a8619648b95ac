"""What the plugins under test raised: no test passes over it, unless it says that it expects it.

The server catches what they raise, as it would in a daemon.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs

from ..config.instance import Prepared
from ..dispatch.failures import WATCHER
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
            token = WATCHER.set(failures.note)
            try:
                served = await stack.enter_async_context(server)
            finally:
                WATCHER.reset(token)  # only the server's tasks keep it
            yield served
    finally:
        failures.tell()

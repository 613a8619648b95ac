"""What ssdp and wsd have in common: a handler that announces itself, and answers who searches.

While many ask, answers are bounded (`admission`); from its goodbyes on, it answers nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import attrs
import trio

from responder import Handler, Network

from .admission import Admission
from .delays import Uniform, by_chance


@attrs.define(eq=False)
class AnnouncingHandler(Handler):
    """`clock` tells the seconds since 1970."""

    uniform: Uniform = attrs.field(factory=by_chance, kw_only=True)
    clock: Callable[[], float] = attrs.field(default=time.time, kw_only=True)
    admission: Admission = attrs.field(factory=Admission, init=False)
    counted: Counter[str] = attrs.field(factory=Counter, init=False)
    silenced: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set when it is time for goodbyes: no answer that waits is sent then."""

    def counts(self) -> Mapping[str, int]:
        """Messages by what became of them."""
        return self.counted

    async def announce(self, network: Network, run: Callable[[], Awaitable[None]]) -> None:
        """Run an announcer, which says goodbye when it is time; `fall_silent` is called then."""

        async def stop_answering() -> None:
            await network.stopping.wait()
            self.fall_silent()
            self.silenced.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_answering)
            await run()

    def fall_silent(self) -> None:
        """Answer no more."""
        raise NotImplementedError

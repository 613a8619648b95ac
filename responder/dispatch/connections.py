"""TCP connections, bounded: where there is no place left, the one that has been idle for longest gives way.

So connections that say nothing keep nobody out.  It is one of the peer network that holds the most places (an IPv4
address, an IPv6 /64, which one host fills as easily as one address) on the link that holds the most: whoever opens many
loses their own first.  A network may have a bound of its own; then one of its own gives way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import attrs
import trio

from ..datagram import IPAddress
from ..net.types import Flow
from .outcomes import Traffic, new_traffic


def network_of(address: IPAddress) -> tuple[int, int]:
    """What counts as one peer: an IPv4 address, or the /64 of an IPv6 address."""
    return address.version, int(address) if address.version == 4 else int(address) >> 64


class Wrapped(trio.abc.HalfCloseableStream):
    """A stream around another one, which does what that one does."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Active(Wrapped):
    """A stream that notes when something last came or went (seconds of trio's clock), and counts the bytes."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, traffic: Traffic) -> None:
        super().__init__(stream)
        self._traffic = traffic
        self.last = trio.current_time()
        self.unread = b""

    def put_back(self, data: bytes) -> None:
        """Let it be read again."""
        self.unread = data + self.unread

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.unread:
            await trio.lowlevel.checkpoint()
            part = self.unread[:max_bytes]
            self.unread = self.unread[len(part) :]
            return part
        data = await super().receive_some(max_bytes)
        self._traffic["received"] += len(data)
        self.last = trio.current_time()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await super().send_all(data)
        self._traffic["sent"] += len(data)
        self.last = trio.current_time()


@attrs.define(eq=False)
class Admitted:
    """A connection that was let in.  `gave_way`: it was ended for another one."""

    link: int
    network: tuple[int, int, int]
    stream: Active
    gave_way: bool = False
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def give_way(self) -> None:
        self.gave_way = True
        self._scope.cancel()


@attrs.define(eq=False)
class Connections:
    """Those that are open at a time.  The longest idle are found by looking at all: there are some hundreds at most."""

    _open: dict[Admitted, None] = attrs.field(factory=dict, init=False)
    _running: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        """How many there are, with those that gave way and have not ended yet."""
        return self._running

    @contextmanager
    def place(
        self,
        stream: trio.abc.HalfCloseableStream,
        flow: Flow,
        limit: int,
        traffic: Traffic | None = None,
        *,
        per_peer: int | None = None,
    ) -> Iterator[Admitted]:
        """A place for the time of the block; another connection gives way where there are `limit` already.

        So does one of the peer's own network where that one has `per_peer` (None or 0: no bound).  `traffic` is what
        its bytes are counted in, if they are.

        The block is cancelled when this one has to give way; it then ends without an exception.
        """
        network = flow.interface, *network_of(flow.peer)
        place = Admitted(flow.interface, network, Active(stream, traffic or new_traffic()))
        own = [each for each in self._open if each.network == network] if per_peer else []
        if per_peer and len(own) >= per_peer:
            self._end_longest_idle(own)
        elif len(self._open) >= limit:
            self._end_longest_idle(self._of_whom_hold_most(place))
        self._open[place] = None
        self._running += 1
        try:
            with place._scope:
                yield place
        finally:
            self._open.pop(place, None)
            self._running -= 1

    def _of_whom_hold_most(self, newcomer: Admitted) -> list[Admitted]:
        """Of the links and networks that hold the most places, the newcomer's included; all, where it is alone that."""
        held = (*self._open, newcomer)
        links = Counter(place.link for place in held)
        networks = Counter(place.network for place in held if links[place.link] == max(links.values()))
        most = max(networks.values())
        return [place for place in self._open if networks[place.network] == most] or [*self._open]

    def _end_longest_idle(self, places: Iterable[Admitted]) -> None:
        leaving = min(places, key=lambda place: place.stream.last)
        del self._open[leaving]
        leaving.give_way()

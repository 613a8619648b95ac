"""Worker processes and shared sockets made of memory, on trio's clock."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import trio

from responder.daemon.workers.process import WorkerError
from responder.datagram import Interface, IPAddress
from responder.errors import BindError
from responder.net.handover import Shares
from tests.fakes import LAN, LOOPBACK, FakePlatform


@attrs.define(eq=False)
class FakeShare:
    """One process's socket of a port."""

    port: int
    address: IPAddress | None
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@attrs.define(eq=False)
class FakeSharingPlatform(FakePlatform):
    """A `SharingPlatform`.  Ports in `taken` can't be bound."""

    shares: list[FakeShare] = attrs.field(factory=list)

    def open_shares(
        self,
        count: int,
        port: int,
        address: IPAddress | None = None,
        *,
        interface: int = 0,
        tcp: bool = False,
        beside_own: bool = False,
    ) -> Shares:
        del interface
        if port in self.taken:
            raise BindError(98, f"UDP port {port} is taken", port=port)
        own = [each for each in self.open_now() if each.port == port]
        assert not own or beside_own, f"port {port} is bound already"
        assert address not in [each.address for each in own] or not count, f"{address}, port {port} is bound already"
        made = [FakeShare(port, address) for _ in range(count + tcp)]
        self.shares += made
        sockets = cast("list[Any]", made)
        return Shares(port, tuple(sockets[:count]), sockets[count] if tcp else None)

    def open_now(self) -> list[FakeShare]:
        return [each for each in self.shares if not each.closed]

    async def interfaces(self) -> Sequence[Interface]:
        await trio.lowlevel.checkpoint()
        return LOOPBACK, LAN


@attrs.define(eq=False)
class FakeProcess:
    """A worker's process.  A configuration with the word "wrong" it can't prepare; at "deadly" it dies.

    `delays` are the least and most seconds that it takes for anything.
    """

    number: int
    pid: int
    chance: random.Random
    delays: tuple[float, float] = (0.0, 1.0)
    serving: str | None = None
    """The text of the configuration that it serves."""
    ports: frozenset[int] = frozenset()
    status: int | None = None
    """Its exit status, once it has ended."""
    stopped: bool = False
    """By SIGSTOP."""
    lingers: bool = False
    """It says its goodbyes when asked to stop, and does not end."""
    broken: bool = False
    """To ask it raises what nobody expects."""
    shortages: int = 0
    """So many of the next requests to prepare or abandon can't be made, since the system refuses."""
    _coming: tuple[str, frozenset[int]] | None = None
    _handed: set[int] = attrs.field(factory=set)
    _changed: trio.Event = attrs.field(factory=trio.Event)

    # What the test does with it

    def die(self, status: int) -> None:
        if self.status is None:
            self.status = status
            self._changed.set()

    def stop(self) -> None:
        self.stopped = True

    # Implements `Process`

    def wake(self) -> None:
        self.stopped = False
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        if self.status is not None:
            self._changed.set()

    def kill(self) -> None:
        self.die(-9)

    async def ended(self) -> None:
        while self.status is None:
            await self._changed.wait()

    async def end(self) -> int:
        await trio.lowlevel.checkpoint()
        self.die(-9)
        assert self.status is not None
        return self.status

    async def hand(self, shares: Iterable[Shares], number: int) -> None:
        for each in shares:
            await trio.lowlevel.checkpoint()
            own = cast("FakeShare", each.sockets[number])
            assert not own.closed, f"a closed socket of port {each.port} is handed over"
            self._handed.add(each.port)
        if self.status is not None:
            raise WorkerError("it has ended")

    async def ask(self, request: str, **fields: Any) -> Any:
        await self._work()
        if self.broken:
            raise ValueError("nobody thought of that")
        match request:
            case "prepare" | "abandon" if self.shortages:
                self.shortages -= 1
                raise WorkerError("no thread can be had", answered=True)
            case "prepare":
                ((_, text),) = fields["files"]
                handed, self._handed = frozenset(self._handed), set()
                if "deadly" in text:
                    self.die(-11)
                    raise WorkerError("it has ended")
                if "wrong" in text:
                    return ["wrong"]
                self._coming = text, handed
                return []
            case "commit":
                if self._coming is None:
                    raise WorkerError("nothing is prepared", answered=True)
                (self.serving, self.ports), self._coming = self._coming, None
                return []
            case "abandon":
                self._coming = None
                return []
            case "stop":
                if not self.lingers:
                    self.die(0)
                return None
            case "status":
                if self.serving is None:
                    raise WorkerError("it does not serve yet", answered=True)
                return None
            case "recent":
                return [{"time": float(self.number), "pid": self.pid}]
        raise AssertionError(request)

    @asynccontextmanager
    async def answers(self, request: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        raise NotImplementedError(request)
        yield  # type: ignore[unreachable]  # it is a generator

    async def _work(self) -> None:
        """Take some time, if it is let; raises WorkerError where it does not live so long."""
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(self.chance.uniform(*self.delays)):
            await self.ended()
        while self.stopped and self.status is None:
            await self._changed.wait()
        if self.status is not None:
            raise WorkerError("it has ended")

"""One plugin on one host, with one client: what most tests of a plugin need.

    answers = await exchange(Greeter(), b"hi", to="192.0.2.1")

    async with bench(Greeter(), port=7007) as at:
        heard = await at.ask(b"hi")
        at.interface.down()

What the plugin's code raises, in `respond`, `converse` or `run`, is raised here too, at the next thing that a test
does with the bench, though a daemon goes on without; PeerError is no failure.  A test that expects one gives a list
that takes it: `failures = []` and `bench(Greeter(), failures=failures)`.

The server has 192.0.2.1/24, 192.0.2.2/24, 2001:db8::1/64 and fe80::1/64 on one link (`eth0`), the client
192.0.2.9/24, 2001:db8::9/64 and fe80::9/64.  For more hosts and links build a `FakeNetwork`.

`checks` judges what is heard.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio
import trio.testing

from ..config.registry import require_contract
from ..plugin import Plugin
from ..server.embedding import Server
from .clients import FakeClient, FakeConversation, Heard, NoAnswer
from .failures import Failures
from .held_clock import is_thread_awaited, wait_no_thread_awaited
from .hosts import FakeHost
from .interfaces import FakeInterface
from .network import FakeNetwork, Link

SERVER = ("192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64", "fe80::1/64")
GATEWAYS = ("192.0.2.9", "2001:db8::9")
CLIENT = ("192.0.2.9/24", "2001:db8::9/64", "fe80::9/64")


@attrs.frozen(eq=False)
class Bench:
    """A plugin that is served on a fake host, and a client of it.

    interface  the server's one on the link
    address    that one's first address, which `ask` asks by default
    """

    network: FakeNetwork
    link: Link
    host: FakeHost
    interface: FakeInterface
    server: Server
    client: FakeClient
    address: str = "192.0.2.1"
    _failures: Failures = attrs.field(factory=Failures)

    def port(self, service: str = "default") -> int:
        return self.server.port(service=service)

    async def ask(
        self, payload: bytes, to: str | None = None, *, service: str = "default", within: float = 5.0
    ) -> Heard:
        """The answer, from the address that was asked.  Raises NoAnswer after `within` seconds of trio's clock."""
        with self._telling():
            return await self.client.ask(payload, to or self.address, self.port(service), within=within)

    async def begin(
        self, payload: bytes, to: str | None = None, *, service: str = "default", within: float = 5.0
    ) -> FakeConversation:
        """A conversation with whoever answers from the asked address, from whichever port (RFC 1350 section 4).

        Raises NoAnswer.
        """
        with self._telling():
            return await self.client.begin(payload, to or self.address, self.port(service), within=within)

    async def exchange(
        self, payload: bytes, to: str | None = None, *, service: str = "default", within: float = 0.0
    ) -> list[Heard]:
        """All that comes back, from whomever, within so many seconds; 0: what comes without any time passing."""
        await self.client.send(payload, to or self.address, self.port(service))
        return await self.collect(within)

    async def connect(self, to: str | None = None, *, service: str = "default") -> trio.abc.HalfCloseableStream:
        """A TCP connection of the client's.  Raises ConnectionRefusedError."""
        return await self.client.host.connect(to or self.address, self.port(service))

    async def collect(self, within: float = 0.0) -> list[Heard]:
        """What the client hears within so many seconds of trio's clock."""
        heard: list[Heard] = []
        with trio.move_on_after(within) as scope:
            while within:
                heard.append(await self.client.receive())
        if not scope.cancelled_caught:
            await settled()
        self._failures.tell()
        return [*heard, *self.client.heard()]

    def spoof(
        self, payload: bytes, source: str, *, source_port: int = 40000, to: str | None = None, service: str = "default"
    ) -> None:
        """A datagram that claims to be from `source`."""
        port = self.port(service)
        self.link.inject(payload, source=source, source_port=source_port, to=to or self.address, port=port)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """A failure says more than the answer that it cost."""
        try:
            yield
        except NoAnswer:
            self._failures.tell()
            raise
        self._failures.tell()

    def outcomes(self) -> dict[str, int]:
        """What became of the datagrams, by outcome (`responder.dispatch.outcomes`)."""
        totals: dict[str, int] = {}
        for interfaces in self.server.counts().values():
            for counts in interfaces.values():
                for outcome, count in counts.items():
                    totals[outcome] = totals.get(outcome, 0) + count
        return totals


async def settled() -> None:
    """Return once nothing more happens without time passing, the work of threads included."""
    await trio.testing.wait_all_tasks_blocked()
    while is_thread_awaited():
        await wait_no_thread_awaited()
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def bench(
    plugin: Plugin,
    *,
    name: str | None = None,
    state: Path | None = None,
    failures: list[BaseException] | None = None,
    **keys: Any,
) -> AsyncIterator[Bench]:
    """Serve a plugin on a small fake network.

    `keys` are those of an instance (port, groups, interfaces, allow, rate, ...), `state` the folder below which it may
    keep state.  What the plugin raises is raised, or put into `failures` where that is given.  Raises ConfigErrors, and
    PluginError for a plugin that a daemon would not load.
    """
    require_contract(type(plugin), type(plugin).__name__)
    watched = Failures(failures)
    network = FakeNetwork()
    link = network.link("eth0")
    host = network.host("server")
    interface = host.attach(link, *SERVER)
    other = network.host("client")
    other.attach(link, *CLIENT)
    # Answers to forged sources have somewhere to go: a gateway that drops them.
    for gateway in GATEWAYS:
        host.route("default", via=gateway, interface=interface)
    async with host.serve_watched(plugin, failures=watched, name=name, state=state, **keys) as server:
        await settled()
        yield Bench(network, link, host, interface, server, other.client(), failures=watched)


async def exchange(
    plugin: Plugin,
    payload: bytes,
    *,
    to: str = "192.0.2.1",
    service: str = "default",
    within: float = 0.0,
    **keys: Any,
) -> list[Heard]:
    """What a client hears that sends a plugin one datagram; `to` may be a group or a broadcast address.

    With `within=0` it is what comes without any time passing; otherwise what comes in so many seconds of trio's clock.
    `keys` are those of an instance, and `failures`, as `bench` takes it.
    """
    async with bench(plugin, **keys) as at:
        return await at.exchange(payload, to, service=service, within=within)


def payloads(heard: Sequence[Heard]) -> list[bytes]:
    """What was heard, without the ways that it came."""
    return [each.payload for each in heard]

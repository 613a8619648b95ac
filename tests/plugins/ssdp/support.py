"""What the tests of SSDP share: a device tree, messages as a control point sends them, and a daemon's worth of server.

The server is the framework's own on the fake platform, so that what is looked at is what would leave the host.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import attrs
import trio
from responder_plugins.ssdp import Device, Ssdp
from responder_plugins.ssdp.handler import SsdpHandler
from responder_plugins.ssdp.message import Message, read_message

from responder import Context, Datagram, Interface, Peer, Via
from responder.config.instance import Instance, Prepared
from responder.server.server import ServerCore, open_server
from responder.server.state import folder_below
from tests.fakes import LAN, FakePlatform, FakeReceived, FakeSocket, Transmit, flow

ROOT_UUID = "2fac1234-31f8-11b4-a222-08002b34c003"
EMBEDDED_UUID = "2fac1234-31f8-11b4-a222-08002b34c004"
BASIC = "urn:schemas-upnp-org:device:Basic"
LIGHT = "urn:schemas-upnp-org:device:BinaryLight"
SWITCH = "urn:schemas-upnp-org:service:SwitchPower"
GROUP = "239.255.255.250"

LAMP = Device(
    uuid=ROOT_UUID,
    type=f"{BASIC}:2",
    friendly_name="Lab <device>",
    services=[f"{SWITCH}:3"],
    devices=(Device(uuid=EMBEDDED_UUID, type=f"{LIGHT}:1", friendly_name="Light", services=[f"{SWITCH}:1"]),),
)
"""One root device, one embedded, two services: 3+2d+k is 7."""

SINGLE = Device(uuid=ROOT_UUID, type=f"{BASIC}:1", friendly_name="Lab device")

PLACES = {
    ("239.255.255.250", 2): ("10.71.0.1", "10.71.0.1"),
    ("ff02::c", 2): ("fe80::1", "[fe80::1]"),
    ("ff05::c", 2): ("fd71::1", "[fd71::1]"),
    ("239.255.255.250", 3): ("10.72.0.1", "10.72.0.1"),
    ("ff02::c", 3): ("fe80::1", "[fe80::1]"),
    ("ff05::c", 3): ("fd72::1", "[fd72::1]"),
}
"""(group, interface) -> (source, literal in LOCATION); nothing is announced on the loopback interface."""

SETTLED = 5.0
"""Seconds after a change within which all about it is said."""


def search(target: str = "upnp:rootdevice", *, mx: object = 1, **changed: str) -> bytes:
    """A search as control points send it; `mx=None` leaves MX out."""
    headers = {"HOST": f"{GROUP}:1900", "MAN": '"ssdp:discover"', "ST": target, **changed}
    if mx is not None:
        headers["MX"] = str(mx)
    lines = ["M-SEARCH * HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def multicast(payload: bytes, peer: str = "10.71.0.9", group: str = GROUP, interface: int = 2) -> FakeReceived:
    return FakeReceived(payload, flow(peer, group, interface, via=Via.MULTICAST))


def handler_of(*devices: Device, seed: int = 1, **options: Any) -> SsdpHandler:
    """A handler with its own randomness, the same each time, and a clock that stands at 1970: boot ids count from 0."""
    handler = SsdpHandler.of(Ssdp(devices=devices, **options), Context("ssdp"))
    handler.uniform = Random(seed).uniform  # noqa: S311 - no secret
    handler.clock = float
    return handler


def request_for(
    payload: bytes, *, peer: str = "10.71.0.9", interface: Interface = LAN, destination: str = GROUP
) -> Datagram:
    via = Via.MULTICAST if ip_address(destination).is_multicast else Via.UNICAST
    return Datagram(payload, Peer(peer, 40000), destination, interface, service="discovery", port=1900, via=via)


@attrs.frozen
class Sent:
    """A message that left: when, and by which way."""

    time: float
    message: Message
    to: str
    port: int
    source: str
    interface: int
    hop_limit: int | None

    def __getitem__(self, name: str) -> str:
        return self.message.headers[name]

    @property
    def kind(self) -> str:
        """The NTS of an announcement; "" for an answer."""
        return self.message.headers.get("nts", "")


def places(sent: list[Sent]) -> set[tuple[str, int]]:
    return {(each.to, each.interface) for each in sent}


@attrs.define(eq=False)
class Watched(FakeSocket):
    """A socket that notes when each datagram was sent."""

    times: list[float] = attrs.field(factory=list, init=False)

    def send(self, batch: Any) -> int:
        count = super().send(batch)
        self.times.extend([trio.current_time()] * count)
        return count


@attrs.define(eq=False)
class WatchedPlatform(FakePlatform):
    def open_udp(self, port: int, *rest: Any, **named: Any) -> Watched:
        plain = super().open_udp(port, *rest, **named)
        self.sockets.remove(plain)
        watched = Watched(plain.port, plain.address, plain.shared)
        self.sockets.append(watched)
        return watched


@attrs.define(eq=False)
class Host:
    """A server that runs, with what it sent."""

    server: ServerCore
    platform: WatchedPlatform
    handler: SsdpHandler
    started: float

    @property
    def discovery(self) -> Watched:
        return next(socket for socket in self._sockets() if socket.port == self.server.port("ssdp", "discovery"))

    @property
    def device(self) -> Watched:
        return next(socket for socket in self._sockets() if socket.port == self.server.port("ssdp", "device"))

    def _sockets(self) -> Iterator[Watched]:
        return (socket for socket in self.platform.sockets if isinstance(socket, Watched))

    def sent(self, want: Callable[[Sent], bool] = lambda _: True, *, socket: Watched | None = None) -> list[Sent]:
        """What has left so far, times counted from the start."""
        socket = socket or self.discovery
        found = [self._of(at, each) for at, each in zip(socket.times, socket.sent, strict=True)]
        return [each for each in found if want(each)]

    def _of(self, at: float, each: Transmit) -> Sent:
        route = each.route
        return Sent(
            at - self.started,
            read_message(each.payload),
            str(route.to),
            each.port,
            str(route.source),
            route.interface,
            route.hop_limit,
        )

    def announced(self, kind: str) -> list[Sent]:
        return self.sent(lambda each: each.kind == kind)

    def answers(self, *, socket: Watched | None = None) -> list[Sent]:
        return self.sent(lambda each: not each.kind, socket=socket)


@asynccontextmanager
async def serving(
    *devices: Device,
    state: Path,
    interfaces: tuple[Interface, ...] | None = None,
    keys: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Host]:
    """A server with one instance; leaving stops it, with time for byebye."""
    platform = WatchedPlatform()
    if interfaces is not None:
        platform.tables = [interfaces]
    handler = handler_of(*devices, **options)
    instance = Instance.of(Ssdp(devices=devices, **options), "ssdp", **(keys or {}))
    async with (
        open_server(
            [Prepared(instance, handler)], platform=platform, state_folder=partial(folder_below, state, "state")
        ) as server,
        trio.open_nursery() as nursery,
    ):
        started = trio.current_time()
        nursery.start_soon(server.run)
        await server.ready.wait()
        yield Host(server, platform, handler, started)
        server.stop()

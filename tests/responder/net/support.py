"""What the socket-layer tests share.  Every wait is bounded."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import trio

from responder.net.types import DatagramSocket, Message, Platform, Received, Route
from tests.lab.namespaces import Namespace

PATIENCE = 10
"""Seconds: no test waits for it unless it fails."""


async def drained(sock: DatagramSocket, count: int) -> list[Received]:
    """The next `count` datagrams."""
    received: list[Received] = []
    with trio.fail_after(PATIENCE):
        while len(received) < count:
            await sock.wait_readable()
            received += sock.receive(count - len(received))
    return received


async def only(sock: DatagramSocket) -> Received:
    """The next datagram."""
    return (await drained(sock, 1))[0]


async def loopback(platform: Platform) -> int:
    """The loopback interface's index."""
    return next(interface.index for interface in await platform.interfaces() if "loopback" in interface.flags)


def to(address: str, port: int, payload: bytes = b"x", *, source: str | None = None, **route: Any) -> Message:
    """A datagram to send; addresses as text."""
    return (payload, Route(ip_address(address), source=ip_address(source) if source else None, **route), port)


def answer(request: Received, payload: bytes = b"answer") -> Message:
    """Back to the sender, from the address that was asked."""
    flow = request.flow
    return (payload, Route(flow.peer, scope_id=flow.scope_id, source=flow.destination), request.peer_port)


class PlatformIn:
    """A platform whose sockets are made in a network namespace, where they stay."""

    def __init__(self, platform: Platform, namespace: Namespace) -> None:
        self._platform = platform
        self._namespace = namespace

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._platform, name)
        return lambda *args, **kwargs: self._namespace.call(lambda: method(*args, **kwargs))

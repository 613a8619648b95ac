"""A plugin on real sockets of this machine's loopback interface: for clients that no fake network can stand in for.

    async def test_a_real_client(loopback_address: str) -> None:
        async with loopback(Greeter(), address=loopback_address) as at:
            assert await at.ask(b"hi") == b"hello"
            subprocess.run(["some-client", str(at.address), str(at.port())], check=True)

It binds the loopback address alone, on ports that the system chooses, so nobody else is served.  Time is real here.
The fixture `loopback_address` is each address that this machine has for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from .. import net
from ..config.instance import Instance, prepare_all
from ..config.registry import require_contract
from ..datagram import IPAddress, Peer
from ..plugin import Plugin
from ..server.embedding import Server
from .clients import NoAnswer
from .failures import Failures, watched
from .sockets import to_address

MAX_PAYLOAD = 65535


@attrs.frozen(eq=False)
class Loopback:
    """A plugin that is served at `address`."""

    server: Server
    address: IPAddress
    _failures: Failures
    _open: ExitStack

    def port(self, service: str = "default") -> int:
        return self.server.port(service=service)

    async def ask(self, payload: bytes, *, service: str = "default", within: float = 5.0) -> bytes:
        """The answer from the address and port that were asked.  Raises NoAnswer after `within` seconds."""
        with self._socket() as sock:
            await sock.connect((str(self.address), self.port(service)))
            await sock.send(payload)
            with trio.move_on_after(within):
                answer = await sock.recv(MAX_PAYLOAD)
                self._failures.tell()
                return answer
        raise self._no_answer(self.port(service), within)

    async def begin(self, payload: bytes, *, service: str = "default", within: float = 5.0) -> LoopbackConversation:
        """A conversation with whoever answers from the asked address, from whichever port (RFC 1350 section 4).

        Its socket is closed with this.  Raises NoAnswer.
        """
        sock = self._open.enter_context(self._socket())
        await sock.sendto(payload, (str(self.address), self.port(service)))
        with trio.move_on_after(within):
            while True:
                answer, (host, port, *_) = await sock.recvfrom(MAX_PAYLOAD)
                if to_address(host) == self.address:
                    self._failures.tell()
                    return LoopbackConversation(Peer(self.address, port), answer, sock, self)
        raise self._no_answer(self.port(service), within)

    async def connect(self, *, service: str = "default") -> trio.SocketStream:
        """A TCP connection.  Raises OSError."""
        return await trio.open_tcp_stream(str(self.address), self.port(service))

    def _socket(self) -> trio.socket.SocketType:
        family = trio.socket.AF_INET if self.address.version == 4 else trio.socket.AF_INET6
        return trio.socket.socket(family, trio.socket.SOCK_DGRAM)

    def _no_answer(self, port: int, within: float) -> NoAnswer:
        """What the plugin has raised says more, and is raised instead."""
        self._failures.tell()
        return NoAnswer(f"no answer from {self.address} port {port} within {within} s")


@attrs.frozen(eq=False)
class LoopbackConversation:
    """A client's end of a conversation with `peer`, from which `first`, the first answer, came."""

    peer: Peer
    first: bytes
    _socket: trio.socket.SocketType
    _at: Loopback

    async def send(self, payload: bytes) -> None:
        await self._socket.sendto(payload, (str(self.peer.address), self.peer.port))

    async def receive(self, within: float = 5.0) -> bytes:
        """The next datagram from that address and port; what others send is dropped.  Raises NoAnswer."""
        with trio.move_on_after(within):
            while True:
                payload, (host, port, *_) = await self._socket.recvfrom(MAX_PAYLOAD)
                if (to_address(host), port) == (self.peer.address, self.peer.port):
                    self._at._failures.tell()
                    return payload
        raise self._at._no_answer(self.peer.port, within)

    async def ask(self, payload: bytes, within: float = 5.0) -> bytes:
        """Send, and give the next datagram.  Raises NoAnswer."""
        await self.send(payload)
        return await self.receive(within)


@asynccontextmanager
async def loopback(
    plugin: Plugin,
    *,
    address: str = "127.0.0.1",
    name: str | None = None,
    state: Path | None = None,
    failures: list[BaseException] | None = None,
    **keys: Any,
) -> AsyncIterator[Loopback]:
    """Serve a plugin at a loopback address.

    `keys` are those of an instance; groups are left out unless they are given.  The rest is as in `bench`.
    """
    require_contract(type(plugin), type(plugin).__name__)
    at = to_address(address)
    services = plugin.services
    if len(services) == 1:
        keys = {"port": 0, "groups": (), **keys}
    elif services:
        free: dict[str, Any] = {service.name: 0 for service in services}
        keys = {"ports": free, "groups": {service.name: () for service in services}, **keys}
    instance = Instance.of(plugin, name, listen=[address], **keys)
    (prepared,) = await prepare_all([instance], state=state or Path.cwd())
    told = Failures(failures)
    async with watched([prepared], told, platform=net.platform(), grace=2.0, settle=0.3, state=state) as server:
        with ExitStack() as opened:
            yield Loopback(server, at, told, opened)

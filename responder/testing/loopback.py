"""A plugin on real sockets of this machine's loopback interface: for clients that no fake network can stand in for.

    async with loopback(Greeter()) as at:
        assert await at.ask(b"hi") == b"hello"
        subprocess.run(["some-client", at.address, str(at.port())], check=True)

It binds the loopback address alone, on ports that the system chooses, so nobody else is served.  Time is real here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from .. import net
from ..config.instance import Instance, prepare_all
from ..config.registry import require_contract
from ..datagram import IPAddress
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

    def port(self, service: str = "default") -> int:
        return self.server.port(service=service)

    async def ask(self, payload: bytes, *, service: str = "default", within: float = 5.0) -> bytes:
        """The answer from the address and port that were asked.  Raises NoAnswer after `within` seconds."""
        family = trio.socket.AF_INET if self.address.version == 4 else trio.socket.AF_INET6
        with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock:
            await sock.connect((str(self.address), self.port(service)))
            await sock.send(payload)
            with trio.move_on_after(within):
                answer = await sock.recv(MAX_PAYLOAD)
                self._failures.tell()
                return answer
        self._failures.tell()
        raise NoAnswer(f"no answer from {self.address} port {self.port(service)} within {within} s")


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
        yield Loopback(server, at, told)

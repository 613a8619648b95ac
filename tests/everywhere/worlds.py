"""One way to ask a served plugin, whatever it runs on: fake sockets, Linux namespaces, Windows under Wine.

All three have the network of `tests.lab.multihomed`: a host with two links, and a client on each.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import trio

from responder.testing import MultihomedNetwork, settled
from tests.lab.multihomed import Multihomed, Way

CONFIG = """
[plugins.echo]
port = 7007
groups = ["239.255.70.7", "ff02::7007"]

[plugins.guests]
use = "echo"
port = 7008
deny = ["10.71.0.0/24", "fd71::/64"]

[plugins.whoami]
port = 5300
groups = ["239.255.70.7", "ff02::7007"]
"""


class World(Protocol):
    async def ask(self, way: Way, *payloads: bytes, port: int) -> tuple[bytes, str]:
        """Send these from one socket, one after the other; what comes back first, and from which address.

        Raises TimeoutError where nothing does.
        """


@attrs.frozen
class FakeWorld:
    network: MultihomedNetwork

    async def ask(self, way: Way, *payloads: bytes, port: int) -> tuple[bytes, str]:
        client = self.network.clients[way.client].client()
        # A client on a real network names its link for such an address (a scope, IP_MULTICAST_IF).
        scoped = way.destination.startswith(("fe80", "ff02", "239."))
        on = self.network.interfaces[way.client] if scoped else None
        for payload in payloads:
            await client.send(payload, way.destination, port, interface=on, source=way.source or None)
        await settled()
        heard = client.heard()
        client.close()
        if not heard:
            raise TimeoutError("nothing came, and nothing more will happen")
        return heard[0].payload, str(heard[0].source.address)


@attrs.frozen
class RealWorld:
    """The server is a process of its own, so asking may hold up the test's loop."""

    network: Multihomed

    async def ask(self, way: Way, *payloads: bytes, port: int) -> tuple[bytes, str]:
        with self.network.client_socket(way) as client:
            for payload in payloads:
                client.sendto(payload, self.network.address_of(way, port))
            payload, source = client.recvfrom(65535)
        await trio.lowlevel.checkpoint()
        return payload, str(source[0]).partition("%")[0]

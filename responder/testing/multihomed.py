"""The network that this project is measured on, made of memory: a host with two links, and a client on each.

        client 1                                 host                                 client 2
    10.71.0.9, fd71::9  --link1--  10.71.0.1, .2      10.72.0.1, .2  --link2--  10.72.0.9, fd72::9
   fe80::9, 169.254.0.9            fd71::1, ::2        fd72::1, ::2           fe80::9, 169.254.0.9
                                     fe80::1              fe80::1
                                   169.254.0.1          169.254.0.1
                                   lo: 10.99.0.1, fd99::1

The link-local addresses are the same on both links, so only the interface tells them apart.  Each client routes all by
the host, so it can ask the other link's addresses and the service addresses.  The framework's own tests run the same
ways of asking here and on a real network.
"""

from __future__ import annotations

from .hosts import FakeHost
from .interfaces import FakeInterface
from .network import FakeNetwork, Link

SERVICE = ("10.99.0.1/32", "fd99::1/128")


class MultihomedNetwork(FakeNetwork):
    """`server` is the host; by number, 1 and 2: `numbered` the links, `clients`, and `interfaces`, the clients' own."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.server: FakeHost = self.host("host")
        self.server.loopback.add(*SERVICE)
        self.numbered: dict[int, Link] = {}
        self.clients: dict[int, FakeHost] = {}
        self.interfaces: dict[int, FakeInterface] = {}
        for number in (1, 2):
            self._connect(number)

    def _connect(self, number: int) -> None:
        link = self.numbered[number] = self.link(f"link{number}")
        v4, v6 = f"10.7{number}.0", f"fd7{number}:"
        self.server.attach(
            link,
            *(f"{v4}.1/24", f"{v4}.2/24", f"{v6}:1/64", f"{v6}:2/64"),
            *("169.254.0.1/16", "fe80::1/64"),
        )
        client = self.clients[number] = self.host(f"client{number}")
        own = client.attach(link, f"{v4}.9/24", f"{v6}:9/64", "169.254.0.9/16", "fe80::9/64")
        client.route("default", via=f"{v4}.1", interface=own)
        client.route("default", via="fe80::1", interface=own)
        self.interfaces[number] = own

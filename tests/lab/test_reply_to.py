"""`Reply(to=...)` on real links: an address and a group mean the service's own port there, a peer says which."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from tests.plugins_for_tests import install_module, with_plugins

from .daemon import daemon
from .multihomed import PATIENCE, Multihomed

pytestmark = pytest.mark.lab

PORT, ELSEWHERE = 7017, 7018
GROUP = "239.255.70.17"

PLUGIN = f'''
from __future__ import annotations
from ipaddress import ip_address
from typing import ClassVar
import attrs
from responder import Answer, Datagram, Peer, Plugin, Reply, Service

@attrs.frozen
class Directing(Plugin):
    """Answers whom the request names: an address, an address and a port, or a group and an interface."""
    services: ClassVar = (Service(port={PORT}, groups=("{GROUP}",)),)

    def respond(self, request: Datagram) -> Answer:
        to, *more = request.payload.decode().split()
        if more and more[0].isdigit():
            return Reply(request.payload, to=Peer(to, int(more[0])))
        return Reply(request.payload, to=ip_address(to), interface=more[0] if more else None)
'''


def listening(network: Multihomed, client: int, family: socket.AddressFamily, port: int) -> socket.socket:
    sock = network.clients[client].socket(family, socket.SOCK_DGRAM)
    sock.bind(("", port))
    sock.settimeout(PATIENCE)
    return sock


def test_it_goes_where_it_says_from_an_address_that_belongs_there(network: Multihomed, tmp_path: Path) -> None:
    site = install_module(tmp_path, "directing", PLUGIN, {"directing": "Directing"})
    config = tmp_path / "directing.toml"
    config.write_text("[plugins.directing]\n")
    cases = [
        # Who is asked at which address, what is said, which client hears it at which port, and from where.
        ("10.71.0.2", b"10.71.0.9", 1, PORT, ("10.71.0.2", PORT)),
        ("10.71.0.2", b"10.71.0.9 7018", 1, ELSEWHERE, ("10.71.0.2", PORT)),
        ("10.71.0.2", b"10.72.0.9", 2, PORT, ("10.71.0.2", PORT)),
        ("fd71::2", b"fd71::9", 1, PORT, ("fd71::2", PORT)),
        ("fd71::2", b"fd72::9 7018", 2, ELSEWHERE, ("fd71::2", PORT)),
        ("10.71.0.1", b"239.255.70.17 link2", 2, PORT, ("10.72.0.1", PORT)),
        ("10.71.0.1", b"239.255.70.17", 1, PORT, ("10.71.0.1", PORT)),
    ]
    with daemon(network.host, config, folder=tmp_path, under=with_plugins(site)) as child:
        for asked, said, client, port, source in cases:
            family = socket.AF_INET6 if ":" in asked else socket.AF_INET
            with (
                listening(network, client, family, port) as hearing,
                network.clients[1].socket(family, socket.SOCK_DGRAM) as asking,
            ):
                if GROUP.encode() in said:
                    index = network.link_index(client)
                    membership = struct.pack("=4s4si", socket.inet_aton(GROUP), bytes(4), index)
                    hearing.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
                asking.sendto(said, (asked, PORT))
                heard, whence = hearing.recvfrom(100)
                assert (heard, whence[:2]) == (said, source), said
        assert child.stop() == 0, "\n".join(child.said)
    assert child.totals("directing")["answered"] == len(cases)

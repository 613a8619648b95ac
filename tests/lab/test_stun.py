"""stun with the clients that people have, on a host with two links: each address answers for itself."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from typing import Any

import aioice.stun
import pytest

from tests.plugins.stun.support import CLASSIC, Told, change, message, told

from .daemon import Child, daemon
from .multihomed import GROUP_V4, GROUP_V6, SERVICE, Multihomed, Way, all_ways, own, unicast_ways

pytestmark = [pytest.mark.lab]

CONFIG = f"""
[plugins.stun]
groups = {{ default = ["{GROUP_V4}", "{GROUP_V6}"] }}
"""

PORTS = {"default": 3478, "other": 3479}

ADDRESSES = [own(1)["secondary-v4"], own(2)["secondary-v4"], own(1)["secondary-v6"], SERVICE[4], SERVICE[6]]
"""None of them is what a routing table would answer from."""


@pytest.fixture(scope="module", autouse=True)
def served(network: Multihomed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder = tmp_path_factory.mktemp("stun")
    file = folder / "responderd.toml"
    file.write_text(CONFIG)
    with daemon(network.host, file, folder=folder) as child:
        yield child
    assert child.status == 0, "\n".join(child.said)


def run(network: Multihomed, *argv: str) -> str:
    """What a program of client 1 prints."""
    return network.clients[1].run(*argv)


def client_of(way: Way) -> str:
    """The address that the way's client is seen with, as far as the way says it."""
    return way.source or {4: f"10.7{way.client}.0.9", 6: f"fd7{way.client}::9"}[4 if "." in way.destination else 6]


@pytest.mark.parametrize("way", all_ways(), ids=str)
def test_the_answer_comes_from_where_was_asked(network: Multihomed, way: Way) -> None:
    for payload, kind in ((message(), 0x0020), (message(transaction=CLASSIC), 0x0001)):
        with network.client_socket(way) as sock:
            sock.sendto(payload, network.address_of(way, 3478))
            data, source = sock.recvfrom(65535)
            assert network.verdict_on_source(way, source, 3478) == ""
            mapped = told(data).address(kind)
            assert mapped.endswith(f":{sock.getsockname()[1]}")
            if "link-local" not in way.kind and way.kind != "multicast-v6":
                assert mapped.strip("[").startswith(client_of(way))


@pytest.mark.parametrize("way", unicast_ways(), ids=str)
def test_each_change_of_its_source(network: Multihomed, way: Way) -> None:
    """RFC 5780 table 1; what is on no link has no other, nor has a link-local address."""
    other = other_of(way)
    for port in PORTS.values():
        for flags in (0, 2, 4, 6):
            with network.client_socket(way) as sock:
                sock.sendto(change(flags), network.address_of(way, port))
                data, source = sock.recvfrom(65535)
            answer = told(data)
            if other is None:
                assert network.verdict_on_source(way, source, port) == ""
                assert (answer.unknown == [0x0003]) if flags else answer.type == 0x0101
                continue
            expected = (other if flags & 4 else way.destination, port ^ 1 if flags & 2 else port)
            assert source[:2] == expected
            assert answer.address(0x802B) == as_text(*expected)
            assert answer.address(0x802C) == as_text(other, port ^ 1)


def other_of(way: Way) -> str | None:
    """The other one of its link."""
    for link in (1, 2):
        alike = [address for address in own(link).values() if (":" in address) == (":" in way.destination)]
        if way.destination in alike:
            return alike[alike.index(way.destination) ^ 1]
    return None


def as_text(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


# The kernel answers the first segment by its routing table, which has 169.254.0.0/16 on one link only.
@pytest.mark.parametrize("way", [way for way in unicast_ways() if way.kind != "link-local-v4"], ids=str)
def test_by_tcp(network: Multihomed, way: Way) -> None:
    with network.clients[way.client].socket(way.family, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect(network.address_of(way, 3478))
        for _ in range(2):
            sock.sendall(message())
            answer = read_one(sock)
            assert answer.address(0x0020).endswith(f":{sock.getsockname()[1]}")


def read_one(sock: socket.socket) -> Told:
    data = b""
    while len(data) < 20 or len(data) < 20 + int.from_bytes(data[2:4]):
        more = sock.recv(4096)
        assert more
        data += more
    return told(data)


@pytest.mark.clients("turnutils_stunclient")
def test_turnutils_stunclient(network: Multihomed) -> None:
    """Where it is told of another address, it asks for an answer from there: at another port, and with padding."""
    for address in ADDRESSES:
        printed = run(network, "turnutils_stunclient", address)
        client = "fd71::9" if ":" in address else "10.71.0.9"
        assert set(re.findall(r"UDP reflexive addr: \[?([0-9a-f.:]+?)\]?:\d+\n", printed)) == {client}, printed
        assert printed.count("RFC 5780 response") == (0 if address in SERVICE.values() else 3), printed


@pytest.mark.clients("turnutils_natdiscovery")
def test_turnutils_natdiscovery(network: Multihomed) -> None:
    """There is no NAT between; what it says of it, and that each of its tests had its answer."""
    for address in (own(1)["primary-v4"], own(2)["secondary-v4"], own(1)["primary-v6"]):
        for padding in ([], ["-P"]):
            local = "fd71::9" if ":" in address else "10.71.0.9"
            printed = run(network, "turnutils_natdiscovery", "-m", "-f", "-L", local, *padding, address)
            assert "No NAT! (Endpoint Independent Mapping)" in printed, printed
            assert "NAT with Endpoint Independent Filtering!" in printed, printed
            assert "timeout" not in printed, printed


class _Client(asyncio.DatagramProtocol):
    """aioice's transactions on a socket: it takes no answer from another address than the one that it asked."""

    def __init__(self) -> None:
        self.transaction: aioice.stun.Transaction | None = None
        self.asked: tuple[str, int] | None = None
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send_stun(self, message: aioice.stun.Message, addr: tuple[str, int]) -> None:
        self.transport.sendto(bytes(message), addr)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self.transaction is not None
        if addr[:2] == self.asked:
            self.transaction.response_received(aioice.stun.parse_message(data), addr)


def test_aioice(network: Multihomed) -> None:
    """With a fingerprint, as ICE has it."""

    async def ask(address: str) -> tuple[str, int]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = network.clients[1].socket(family, socket.SOCK_DGRAM)
        loop = asyncio.get_running_loop()
        transport, client = await loop.create_datagram_endpoint(_Client, sock=sock)
        try:
            request = aioice.stun.Message(aioice.stun.Method.BINDING, aioice.stun.Class.REQUEST)
            request.add_fingerprint()
            client.asked = (address, 3478)
            client.transaction = aioice.stun.Transaction(request, client.asked, client)
            response, _ = await client.transaction.run()
        finally:
            transport.close()
        assert "FINGERPRINT" in response.attributes
        mapped: tuple[str, int] = response.attributes["XOR-MAPPED-ADDRESS"]
        return mapped

    for address in ADDRESSES:
        assert asyncio.run(ask(address))[0] == ("fd71::9" if ":" in address else "10.71.0.9")

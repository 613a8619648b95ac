"""Garbage, empty and largest datagrams in floods, and sources that nobody may answer: honest peers are served."""

from __future__ import annotations

import random
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from .daemon import daemon
from .multihomed import ECHO_CONFIG, PORT, Multihomed, Way, all_ways, unicast_ways

pytestmark = pytest.mark.lab

DNS_PORT = 5300
CONFIG = ECHO_CONFIG + f"\n[plugins.whoami]\nport = {DNS_PORT}\n"

LARGEST = 65507
"""Bytes: what IPv4 leaves for a UDP payload."""


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    words = struct.unpack(f"!{len(data + bytes(len(data) % 2)) // 2}H", data + bytes(len(data) % 2))
    total = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(source: str, source_port: int, destination: str, port: int, payload: bytes) -> bytes:
    """A UDP datagram (RFC 768) with the checksum that IPv6 wants (RFC 8200 section 8.1)."""
    length = 8 + len(payload)
    ends = ip_address(source).packed + ip_address(destination).packed
    pseudo = ends + struct.pack("!II", length, socket.IPPROTO_UDP)
    header = struct.pack("!HHH", source_port, port, length)
    # A checksum of zero would mean "none".
    return header + struct.pack("!H", checksum(pseudo + header + b"\0\0" + payload) or 0xFFFF) + payload


def ip_packet(source: str, destination: str, datagram: bytes) -> bytes:
    """A whole packet, with a source that the sender need not have."""
    ends = ip_address(source).packed + ip_address(destination).packed
    if isinstance(ip_address(source), IPv4Address):
        # The kernel fills in total length, identification and checksum (raw(7)).
        return struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0) + ends + datagram
    return struct.pack("!IHBB", 6 << 28, len(datagram), socket.IPPROTO_UDP, 64) + ends + datagram


def send_forged(network: Multihomed, way: Way, source: str, source_port: int, port: int) -> None:
    """Send one datagram the way's way, from a source that is not the client's."""
    packet = ip_packet(source, way.destination, udp(source, source_port, way.destination, port, b"forged"))
    address = network.address_of(way, 0)
    with network.clients[way.client].socket(way.family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if way.family == socket.AF_INET:
            index = network.link_index(way.client)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), index))
        sock.sendto(packet, address)


def client_source(way: Way) -> str:
    """An address that the way's client has, of the right family and scope."""
    if isinstance(ip_address(way.destination), IPv6Address):
        return "fe80::9" if way.destination.startswith(("fe80", "ff02")) else f"fd7{way.client}::9"
    return f"10.7{way.client}.0.9"


def test_floods_and_forgeries(network: Multihomed, tmp_path: Path) -> None:
    config = tmp_path / "hostile.toml"
    config.write_text(CONFIG)
    rng = random.Random(7007)  # noqa: S311 - the same garbage each time
    floods = 0
    with daemon(network.host, config, folder=tmp_path) as child:
        for way in unicast_ways():
            payloads = [b"", rng.randbytes(LARGEST), *(rng.randbytes(rng.randrange(1, 600)) for _ in range(40))]
            with network.client_socket(way) as sock:
                for payload in payloads:
                    for port in (PORT, DNS_PORT):
                        sock.sendto(payload, network.address_of(way, port))
            floods += len(payloads)
            # An honest peer is served meanwhile; and since it waits for its answer, the flood doesn't fill the queue.
            assert network.ask(way) == ""
        for way in all_ways():
            send_forged(network, way, client_source(way), 0, PORT)
            multicast = "224.0.0.9" if way.family == socket.AF_INET else "ff02::9"
            send_forged(network, way, multicast, 1024, PORT)
        assert [(str(way), network.ask(way)) for way in all_ways()] == [(str(way), "") for way in all_ways()]
        assert child.stop() == 0, "\n".join(child.said)
    asked, forged = len(unicast_ways()) + len(all_ways()), len(all_ways())
    echo, whoami = child.totals("echo"), child.totals("whoami")
    # Port 0 reaches the daemon.  Multicast sources the kernel itself drops; what it lets through counts as the same.
    assert forged <= echo.pop("bad-source") <= 2 * forged
    assert echo == {"answered": floods + asked}
    assert whoami.keys() == {"answered", "malformed"}
    assert sum(whoami.values()) == floods


def test_the_largest_datagram_is_echoed_whole(network: Multihomed, tmp_path: Path) -> None:
    config = tmp_path / "echo.toml"
    config.write_text(ECHO_CONFIG)
    payload = random.Random(1).randbytes(LARGEST)  # noqa: S311 - no secret
    with daemon(network.host, config, folder=tmp_path):
        for way in unicast_ways():
            with network.client_socket(way) as sock:
                for sent in (payload, b""):
                    sock.sendto(sent, network.address_of(way))
                    received, source = sock.recvfrom(65535)
                    assert received == sent
                    assert source[0].partition("%")[0] == way.destination

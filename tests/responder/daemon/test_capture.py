"""Captures: each packet is well-formed by its own checksums, and tcpdump reads them."""

from __future__ import annotations

import re
import struct
import subprocess
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.daemon.capture import FILE_HEADER, MAX_CONNECTIONS, SEGMENT, Segments, record
from responder.datagram import IPAddress


def ones_sum(data: bytes) -> int:
    """RFC 1071, by its definition: each carry is added again at once."""
    total = 0
    for start in range(0, len(data), 2):
        total += int.from_bytes(data[start : start + 2].ljust(2, b"\0"))
        total = (total & 0xFFFF) + (total >> 16)
    return total


pairs = st.one_of(
    st.tuples(*[st.integers(0, 2**32 - 1).map(IPv4Address)] * 2),
    st.tuples(*[st.integers(0, 2**128 - 1).map(IPv6Address)] * 2),
)


@given(pairs, st.integers(0, 65535), st.integers(0, 65535), st.binary())
def test_checksums_are_right(ends: tuple[IPAddress, IPAddress], source_port: int, to_port: int, payload: bytes) -> None:
    source, to = ends
    packet = record(0, source=source, source_port=source_port, to=to, to_port=to_port, payload=payload)[16:]
    header = 20 if to.version == 4 else 40
    if to.version == 4:
        assert ones_sum(packet[:20]) == 0xFFFF
        assert int.from_bytes(packet[2:4]) == len(packet)
    else:
        assert int.from_bytes(packet[4:6]) == len(packet) - 40
    udp = packet[header:]
    assert ones_sum(source.packed + to.packed + struct.pack("!HH", 17, len(udp)) + udp) == 0xFFFF
    assert udp[6:8] != b"\0\0"
    assert udp[8:] == payload


def test_the_longest_payloads_fit_and_longer_ones_do_not() -> None:
    for to, longest in (("10.0.0.1", 65507), ("fd00::1", 65527)):
        address = ip_address(to)
        record(0, source=None, source_port=1, to=address, to_port=2, payload=bytes(longest))
        with pytest.raises(ValueError, match="fit no UDP datagram"):
            record(0, source=None, source_port=1, to=address, to_port=2, payload=bytes(longest + 1))


def test_the_families_must_agree() -> None:
    with pytest.raises(ValueError, match="can't have sent"):
        record(0, source=ip_address("::1"), source_port=1, to=ip_address("10.0.0.1"), to_port=2, payload=b"")


@pytest.mark.clients("tcpdump")
def test_tcpdump_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "a.pcap"
    four, six = ip_address("10.71.0.2"), ip_address("fd71::1")
    file.write_bytes(
        FILE_HEADER
        + record(1.5, source=ip_address("10.71.0.9"), source_port=40000, to=four, to_port=47007, payload=b"odd")
        + record(2.000001, source=None, source_port=47007, to=four, to_port=40000, payload=b"")
        + record(3, source=ip_address("fe80::9"), source_port=40000, to=six, to_port=47007, payload=b"even")
    )
    read = subprocess.run(
        ["tcpdump", "-tt", "-nn", "-v", "-r", str(file)], capture_output=True, text=True, check=True, timeout=20
    ).stdout
    assert "bad" not in read
    lines = [line for line in read.replace("\n    ", " ").splitlines() if line]
    assert [line.split()[0] for line in lines] == ["1.500000", "2.000001", "3.000000"]
    assert "10.71.0.9.40000 > 10.71.0.2.47007: UDP, length 3" in lines[0]
    assert "0.0.0.0.47007 > 10.71.0.2.40000: UDP, length 0" in lines[1]
    assert "fe80::9.40000 > fd71::1.47007" in lines[2]
    assert "[udp sum ok]" in lines[2]


@pytest.mark.clients("tcpdump")
@pytest.mark.parametrize("addresses", [("10.71.0.9", "10.71.0.2"), ("fe80::9", "fd71::1")])
def test_what_a_connection_carries_are_its_segments(tmp_path: Path, addresses: tuple[str, str]) -> None:
    file = tmp_path / "a.pcap"
    client, server = (ip_address(addresses[0]), 40000), (ip_address(addresses[1]), 53)
    segments = Segments()
    file.write_bytes(
        FILE_HEADER
        + segments.record(1, client, server, b"odd")
        + segments.record(2, server, client, bytes(SEGMENT + 1))
        + segments.record(3, client, server, b"")
        + segments.record(4, client, (server[0], 54), b"another")
        + segments.record(5, client, server, b"even")
    )
    read = subprocess.run(
        ["tcpdump", "-tt", "-nn", "-v", "-S", "-r", str(file)], capture_output=True, text=True, check=True, timeout=20
    ).stdout
    lines = [line for line in read.replace("\n    ", " ").splitlines() if line]
    assert all("(correct)" in line for line in lines)
    assert [line.split()[0] for line in lines] == ["1.000000", "2.000000", "2.000000", "4.000000", "5.000000"]
    numbers = [re.search(r"Flags .*? seq (\d+:\d+), ack (\d+)", line) for line in lines]
    assert [found and found.groups() for found in numbers] == [
        ("1:4", "1"),
        (f"1:{SEGMENT + 1}", "4"),
        (f"{SEGMENT + 1}:{SEGMENT + 2}", "4"),
        ("1:8", "1"),
        ("4:8", f"{SEGMENT + 2}"),
    ]


def test_the_connections_that_are_told_apart_are_bounded() -> None:
    segments = Segments()
    for number in range(3 * MAX_CONNECTIONS):
        segments.record(0, (ip_address(number), 1), (ip_address("10.0.0.1"), 53), b"x")
    assert len(segments._carried) == 2 * MAX_CONNECTIONS

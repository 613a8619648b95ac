"""Control messages: every ABI round trip, against hostile input, and against layouts that the headers give."""

from __future__ import annotations

import socket
import struct
import sys
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.net import cmsg

INT = st.integers(-(2**31), 2**31 - 1)
MESSAGES = st.lists(st.tuples(INT, INT, st.binary(max_size=64)), max_size=6)
ABIS = [abi for abi in vars(cmsg).values() if isinstance(abi, cmsg.Abi)]
ABI = pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)


def space(abi: cmsg.Abi, size: int) -> int:
    """CMSG_SPACE: what a message takes in a buffer."""
    return len(abi.encode([(0, 0, bytes(size))]))


@ABI
@given(messages=MESSAGES)
def test_what_is_encoded_is_parsed(abi: cmsg.Abi, messages: list[cmsg.ControlMessage]) -> None:
    encoded = abi.encode(messages)
    assert list(abi.parse(encoded)) == messages
    assert len(encoded) == sum(space(abi, len(data)) for _, _, data in messages)
    assert len(encoded) % abi.alignment == 0


@ABI
@given(messages=MESSAGES.filter(bool))
def test_the_last_message_may_lack_its_padding(abi: cmsg.Abi, messages: list[cmsg.ControlMessage]) -> None:
    unpadded = space(abi, 0) + len(messages[-1][2])
    encoded = abi.encode(messages[:-1]) + abi.encode(messages[-1:])[:unpadded]
    assert list(abi.parse(encoded)) == messages


@ABI
@given(buffer=st.binary(max_size=256))
def test_any_bytes_are_parsed_within_the_buffer(abi: cmsg.Abi, buffer: bytes) -> None:
    parsed = list(abi.parse(buffer))
    assert sum(abi.length(len(data)) for _, _, data in parsed) <= len(buffer)


@ABI
@given(messages=MESSAGES.filter(bool), lie=st.integers(0, 2**32 - 1), at=st.integers(0, 5))
def test_a_length_that_lies_ends_the_walk_at_that_message(
    abi: cmsg.Abi, messages: list[cmsg.ControlMessage], lie: int, at: int
) -> None:
    at %= len(messages)
    before = abi.encode(messages[:at])
    encoded = bytearray(abi.encode(messages))
    rest = len(encoded) - len(before)
    if abi.data_offset <= lie <= rest:
        lie += rest - abi.data_offset + 1
    width = 8 if abi.header.format.startswith(("=Q", "<Q")) else 4
    encoded[len(before) : len(before) + width] = (lie % 2 ** (8 * width)).to_bytes(width, "little")
    assert list(abi.parse(bytes(encoded))) == messages[:at]


@pytest.mark.skipif(sys.byteorder != "little", reason="the lie is written in this byte order")
@ABI
def test_a_huge_length_does_not_overflow(abi: cmsg.Abi) -> None:
    width = 8 if abi.header.size == 16 else 4
    buffer = (b"\xff" * width).ljust(64, b"\0")
    assert list(abi.parse(buffer)) == []


@ABI
@given(messages=MESSAGES, cut=st.integers(0, 400))
def test_a_cut_buffer_gives_the_messages_before_the_cut(
    abi: cmsg.Abi, messages: list[cmsg.ControlMessage], cut: int
) -> None:
    parsed = list(abi.parse(abi.encode(messages)[:cut]))
    assert parsed == messages[: len(parsed)]


@pytest.mark.parametrize(
    ("abi", "empty", "pktinfo", "pktinfo6"),
    [
        # WSA_CMSG_SPACE(0), (8) and (20) by mingw-w64's headers
        (cmsg.WINDOWS_64, 16, 24, 40),
        (cmsg.WINDOWS_32, 12, 20, 32),
    ],
)
def test_windows_sizes(abi: cmsg.Abi, empty: int, pktinfo: int, pktinfo6: int) -> None:
    assert (space(abi, 0), space(abi, 8), space(abi, 20)) == (empty, pktinfo, pktinfo6)


@given(size=st.integers(0, 4096))
def test_this_machine_agrees(size: int) -> None:
    if sys.platform != "linux":
        pytest.skip("tests/responder/net/windows/test_winsock_types.py asks Windows' headers")
    else:
        abi = cmsg.LINUX_64 if struct.calcsize("P") == 8 else cmsg.LINUX_32
        assert (space(abi, size), abi.length(size)) == (socket.CMSG_SPACE(size), socket.CMSG_LEN(size))


V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
V6 = st.integers(0, 2**128 - 1).map(IPv6Address)
INDEX = st.integers(0, 2**31 - 1)


@given(address=V4, index=INDEX)
def test_windows_in_pktinfo(address: IPv4Address, index: int) -> None:
    data = cmsg.pack_in_pktinfo_windows(address, index)
    assert data == address.packed + index.to_bytes(4, "little")
    assert cmsg.unpack_in_pktinfo_windows(data) == (index, address)


@given(address=V4, index=INDEX)
def test_posix_in_pktinfo(address: IPv4Address, index: int) -> None:
    data = cmsg.pack_in_pktinfo_posix(address, index)
    assert cmsg.unpack_in_pktinfo_posix(data) == (index, address, IPv4Address(0))


@given(address=V6, index=INDEX)
def test_in6_pktinfo(address: IPv6Address, index: int) -> None:
    data = cmsg.pack_in6_pktinfo(address, index)
    assert data[:16] == address.packed
    assert cmsg.unpack_in6_pktinfo(data) == (index, address)


@given(data=st.binary(max_size=32))
@pytest.mark.parametrize(
    ("unpack", "size"),
    [
        (cmsg.unpack_in_pktinfo_windows, 8),
        (cmsg.unpack_in_pktinfo_posix, 12),
        (cmsg.unpack_in6_pktinfo, 20),
        (cmsg.unpack_int, 4),
    ],
)
def test_another_size_is_an_error(unpack: object, size: int, data: bytes) -> None:
    assert callable(unpack)
    if len(data) == size:
        unpack(data)
    else:
        with pytest.raises(struct.error):
            unpack(data)

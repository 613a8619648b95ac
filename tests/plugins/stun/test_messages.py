"""Messages as bytes and values, by the vectors of RFC 5769."""

from __future__ import annotations

import hashlib
import hmac
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from responder_plugins.stun.message import (
    Attribute,
    Refused,
    Type,
    read_message,
    write_attribute,
    write_message,
    write_xor_mapped_address,
)

from .support import (
    CLASSIC,
    COOKIE,
    SAMPLE_IPV4_RESPONSE,
    SAMPLE_IPV6_RESPONSE,
    SAMPLE_LONG_TERM_REQUEST,
    SAMPLE_REQUEST,
    TRANSACTION,
    attribute,
    message,
    with_fingerprint,
)


class TestRfc5769:
    def test_sample_request(self) -> None:
        read = read_message(SAMPLE_REQUEST)
        assert (read.type, read.has_fingerprint, read.is_classic) == (Type.REQUEST, True, False)
        assert read.transaction.hex() == "2112a442b7e7a701bc34d686fa87dfae"
        assert read.attributes[0x8022] == b"STUN test client"
        assert read.attributes[0x0006] == b"evtj:h6vY"
        assert read.unknown == [0x0024], "PRIORITY is of ICE"
        signed = SAMPLE_REQUEST[:2] + (0x50).to_bytes(2) + SAMPLE_REQUEST[4:-32]
        code = hmac.digest(b"VOkJxbRl1RmTxUk/WvJxBt", signed, hashlib.sha1)
        assert read.attributes[0x0008] == code

    @pytest.mark.parametrize(
        ("sample", "address"),
        [(SAMPLE_IPV4_RESPONSE, "192.0.2.1"), (SAMPLE_IPV6_RESPONSE, "2001:db8:1234:5678:11:2233:4455:6677")],
    )
    def test_sample_responses(self, sample: bytes, address: str) -> None:
        """Written again they are the same, but for the padding, which the samples fill with a space."""
        read = read_message(sample)
        assert (read.type, read.has_fingerprint) == (Type.SUCCESS, True)
        attributes = write_attribute(Attribute.SOFTWARE, b"test vector")[:-1] + b" "
        attributes += write_xor_mapped_address(ip_address(address), 32853, read.transaction)
        attributes += write_attribute(Attribute.MESSAGE_INTEGRITY, read.attributes[Attribute.MESSAGE_INTEGRITY])
        assert write_message(Type.SUCCESS, read.transaction, attributes, fingerprint=True) == sample

    def test_sample_request_with_long_term_authentication(self) -> None:
        read = read_message(SAMPLE_LONG_TERM_REQUEST)
        assert not read.has_fingerprint
        assert read.attributes[0x0006].decode() == "マトリックス"
        assert read.attributes[0x0014] == b"example.org"
        assert list(read.attributes) == [0x0006, 0x0015, 0x0014, 0x0008]
        assert read.unknown == []


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "malformed"),
        (message()[:19], "malformed"),
        (message() + b"\0\0\0\0", "malformed"),
        (b"\x40" + message()[1:], "malformed"),
        (b"\x80" + message()[1:], "malformed"),
        (message(attributes=b"\0\6\0\4"), "malformed"),
        (message(attributes=b"\0\6\0\5abcd"), "malformed"),
        (message(attributes=b"\0\6\xff\xffabcd"), "malformed"),
        (message(attributes=b"ab"), "malformed"),
        (message(attributes=attribute(0x8022) * 65), "malformed"),
        (message(attributes=attribute(0x8028, b"abcd") + attribute(0x8022)), "malformed"),
        (message(attributes=attribute(0x8028, b"abc")), "malformed"),
        (message(attributes=attribute(0x8028, b"abcd")), "bad-fingerprint"),
        (SAMPLE_REQUEST[:30] + b"X" + SAMPLE_REQUEST[31:], "bad-fingerprint"),
    ],
)
def test_what_is_no_message(data: bytes, kind: str) -> None:
    with pytest.raises(Refused) as caught:
        read_message(data)
    assert caught.value.kind == kind


def test_of_each_type_the_first_counts() -> None:
    """RFC 8489 section 14."""
    read = read_message(message(attributes=attribute(0x8022, b"one") + attribute(0x8022, b"two")))
    assert read.attributes == {0x8022: b"one"}


def test_what_follows_message_integrity_is_passed_over() -> None:
    """RFC 8489 section 14.5."""
    behind = attribute(0x7FFF) + attribute(0x001C, bytes(32)) + attribute(0x0003, bytes(4))
    read = read_message(with_fingerprint(message(attributes=attribute(0x0008, bytes(20)) + behind)))
    assert list(read.attributes) == [0x0008, 0x001C]
    assert read.has_fingerprint


def test_rfc_3489_knows_no_fingerprint() -> None:
    """What stands in its place may have that number by chance; the types from 0x8000 on are optional."""
    read = read_message(message(attributes=attribute(0x8028, b"abcd"), transaction=CLASSIC))
    assert (read.is_classic, read.has_fingerprint) == (True, False)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=20))
def test_what_is_written_is_read(pairs: list[tuple[int, bytes]]) -> None:
    pairs = [(kind, value) for kind, value in pairs if kind not in (0x0008, 0x001C, 0x8028)]
    written = write_message(Type.REQUEST, COOKIE + TRANSACTION, b"".join(write_attribute(*pair) for pair in pairs))
    assert written == message(attributes=b"".join(attribute(*pair) for pair in pairs))
    assert read_message(written).attributes == dict(reversed(pairs))
    assert read_message(with_fingerprint(written)).has_fingerprint

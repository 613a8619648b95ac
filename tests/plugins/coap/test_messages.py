"""Bytes and values: against messages written by hand here, and against aiocoap's reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from responder_plugins.coap.message import (
    FormatError,
    Type,
    Unreadable,
    read_message,
    write_empty,
    write_message,
    write_rest,
)

from responder.testing import hostile

from .support import ACK, CON, NON, RST, empty, get, message, read

SAMPLES = (
    get("/hello"),
    get("/a/b?c=d&e", 7, (17, b"\x28"), (300, b"x" * 20), kind=NON, token=b""),
    message(CON, 2, 5, b"12345678", [(11, b"x" * 300), (2000, b"")], b"payload"),
    empty(CON, 9),
    empty(RST, 9),
    message(ACK, 0x45, 1, b"t", [], b"hello"),
)


@pytest.mark.parametrize("payload", SAMPLES)
def test_what_is_read_is_what_was_written(payload: bytes) -> None:
    told, expected = read_message(payload), read(payload)
    assert (told.type, told.code, told.message_id, told.token, told.payload) == (
        expected.kind,
        expected.code,
        expected.message_id,
        expected.token,
        expected.payload,
    )
    assert list(told.options) == expected.options
    assert (
        write_message(told.type, told.code, told.message_id, told.token, write_rest(told.options, told.payload))
        == payload
    )


def test_an_empty_message() -> None:
    assert write_empty(Type.RST, 0xABCD) == empty(RST, 0xABCD) == bytes.fromhex("7000abcd")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        *((bytes([0x40 | size, 1, 0, 1]) + bytes(size), "a token of") for size in range(9, 16)),
        (b"\x43\x01\0\1ab", "a token that is cut off"),
        (get("/a") + b"\xff", "no payload behind the marker"),
        (empty(CON, 1) + b"\xff", "an empty message"),
        (b"\x41\0\0\1t", "an empty message"),
        (b"\x40\x01\0\1\xf0", "reserved"),
        (b"\x40\x01\0\1\x0f", "reserved"),
        (b"\x40\x01\0\1\xf1x", "reserved"),
        (b"\x40\x01\0\1\xd0", "cut off"),
        (b"\x40\x01\0\1\xe0\0", "cut off"),
        (b"\x40\x01\0\1\x0e\0", "cut off"),
        (b"\x40\x01\0\1\x02x", "cut off"),
    ],
)
def test_format_errors(payload: bytes, reason: str) -> None:
    with pytest.raises(FormatError, match=reason) as raised:
        read_message(payload)
    assert (raised.value.type, raised.value.message_id, raised.value.kind) == (Type.CON, 1, "format-error")


@pytest.mark.parametrize(
    ("payload", "kind"),
    [(b"", "malformed"), (b"\x40\1\0", "malformed"), *((bytes([v << 6, 1, 0, 1]), "bad-version") for v in (0, 2, 3))],
)
def test_no_messages(payload: bytes, kind: str) -> None:
    with pytest.raises(Unreadable) as raised:
        read_message(payload)
    assert raised.value.kind == kind
    assert not isinstance(raised.value, FormatError)


@given(
    st.integers(0, 3),
    st.integers(1, 255),
    st.integers(0, 0xFFFF),
    st.binary(max_size=8),
    st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=400))),
    st.binary(),
)
def test_any_message_comes_back(
    kind: int, code: int, message_id: int, token: bytes, options: list[tuple[int, bytes]], payload: bytes
) -> None:
    data = message(kind, code, message_id, token, options, payload)
    told = read_message(data)
    assert list(told.options) == sorted(options, key=lambda option: option[0])
    assert (
        write_message(told.type, told.code, told.message_id, told.token, write_rest(told.options, told.payload)) == data
    )


@given(hostile(*SAMPLES))
def test_aiocoap_reads_the_same(payload: bytes) -> None:
    aiocoap = pytest.importorskip("aiocoap", reason="another reader of CoAP's messages")
    try:
        ours = read_message(payload)
        theirs = aiocoap.Message.decode(payload)
    except Exception:  # it refuses values of options as well, and takes some format errors
        return
    assert (theirs.mtype, theirs.code, theirs.mid, theirs.token) == (ours.type, ours.code, ours.message_id, ours.token)
    assert theirs.payload == ours.payload
    assert sorted(option.number for option in theirs.opt.option_list()) == [number for number, _ in ours.options]

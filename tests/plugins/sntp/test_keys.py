"""Requests and answers with a message authentication code (RFC 8573)."""

from __future__ import annotations

import struct
import sys

import pytest
from responder_plugins.sntp import Sntp
from responder_plugins.sntp.message import read_mac
from trio.testing import MockClock

from responder import ConfigError, Context, PeerError, Secret
from responder.testing import bench, never_answers
from tests.fakes import LAN

from .support import handler_of, request, request_for, told

mac = pytest.importorskip("responder_plugins.sntp.mac", reason="the package cryptography is missing")

KEY = "2b7e151628aed2a6abf7158809cf4f3c"
"""Of the examples of RFC 4493."""


def with_keys() -> Sntp:
    return Sntp(trust="always", keys={"7": Secret(KEY), "8": Secret("00" * 16)})


def field(size: int = 28, kind: int = 0x0104) -> bytes:
    """An extension field (RFC 7822)."""
    return struct.pack("!HH", kind, size) + bytes(size - 4)


def signed(payload: bytes, number: int = 7, key: str = KEY) -> bytes:
    return payload + struct.pack("!I", number) + mac.digest(bytes.fromhex(key), payload)


def test_the_codes_are_those_of_the_standard() -> None:
    """RFC 4493 section 4."""
    key = bytes.fromhex(KEY)
    assert mac.digest(key, b"").hex() == "bb1d6929e95937287fa37d129b756746"
    message = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    assert mac.digest(key, message).hex() == "070a16b46b4d4144f79bdd9dd04a287c"
    assert mac.is_right(key, message, bytes.fromhex("070a16b46b4d4144f79bdd9dd04a287c"))
    assert not mac.is_right(key, message, bytes(16))


@pytest.mark.parametrize("fields", [b"", field(), field(16) + field(40)])
async def test_a_request_with_a_code_gets_an_answer_with_one(autojump_clock: MockClock, fields: bytes) -> None:
    async with bench(with_keys()) as at:
        answer = (await at.ask(signed(request() + fields))).payload
        assert len(answer) == 68
        assert told(answer).stratum == 10
        assert answer[48:52] == bytes([0, 0, 0, 7])
        assert mac.is_right(bytes.fromhex(KEY), answer[:48], answer[52:])


async def test_a_request_without_one_gets_an_answer_without(autojump_clock: MockClock) -> None:
    async with bench(with_keys()) as at:
        for payload in (request(), request() + field()):
            assert len((await at.ask(payload)).payload) == 48


async def test_a_wrong_code_gets_silence(autojump_clock: MockClock) -> None:
    good = signed(request())
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    bad = [
        flipped,
        good[:47] + b"\xff" + good[48:],
        signed(request(), number=9),
        signed(request(), number=8),
        good[:-1],
        request() + bytes(4),
        request() + field()[:20] + bytes(3),
        request() + field(60)[:40],
        request() + struct.pack("!HH", 1, 0) + bytes(40),
    ]
    async with bench(with_keys()) as at:
        await never_answers(at, *bad)


async def test_without_keys_what_is_behind_the_header_is_ignored(autojump_clock: MockClock) -> None:
    async with bench(Sntp(trust="always")) as at:
        assert len((await at.ask(signed(request()))).payload) == 48


async def test_what_is_counted() -> None:
    handler = handler_of(keys=with_keys().keys)
    handler.respond(request_for(signed(request()), LAN))
    with pytest.raises(PeerError):
        handler.respond(request_for(request() + bytes(20), LAN))
    assert handler.counts() == {"told": 1, "authenticated": 1, "bad-mac": 1}


def test_fields_are_passed_over() -> None:
    assert read_mac(request() + field()) is None
    payload = request() + field(16) + bytes(3) + b"\1" + b"d" * 16
    assert read_mac(payload) == (1, b"d" * 16, payload[:64])


def test_without_the_package_the_operator_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match=r"pip install 'responderd\[sntp-keys\]'"):
        with_keys().prepare(Context("sntp"))

"""Each query is counted once, by what it got; as the handler says it, and as the daemon shows it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import dns.edns
import dns.message
import pytest
from responder_plugins.dns import Dns
from responder_plugins.dns.answer.processor import RCODES

from responder import PeerError
from responder.daemon.status import About, take
from responder.testing import bench
from tests.plugins.dns import queries
from tests.plugins.dns.support import ZONE, ask_bytes, handler_of, request
from tests.plugins.dns.test_tcp import axfr, connected, transferred

COOKIE = {"use_edns": 0, "options": [dns.edns.GenericOption("COOKIE", b"12345678")]}


def query(name: str = "www.example.test", **more: Any) -> bytes:
    return dns.message.make_query(name, "A", **more).to_wire()


NOTIFY = b"\0\7\x20\0\0\1\0\0\0\0\0\0\0\0\1\0\1"
KINDS = {
    "noerror": query(),
    "nxdomain": query("nothing.example.test"),
    "refused": query("elsewhere.invalid"),
    "formerr": query() + b"\0",
    "notimp": NOTIFY,
    "badvers": query(use_edns=1),
    "dropped-short": query()[:11],
    "dropped-response": query()[:2] + b"\x80" + query()[3:],
}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [{}, {"rate_limit": 1000}], ids=["", "limited"])
async def test_by_what_it_got(kind: str, times: int, more: dict[str, Any]) -> None:
    handler = handler_of(**more)
    for _ in range(times):
        if kind.startswith("dropped"):
            with pytest.raises(PeerError):
                handler.respond_last(request(KINDS[kind]))
        else:
            ask_bytes(handler, KINDS[kind])
    assert handler.counts() == {kind: times}


@pytest.mark.parametrize("name", ["www.example.test", "nothing.example.test", "elsewhere.invalid"])
def test_with_a_cookie(name: str) -> None:
    handler = handler_of()
    rcodes = Counter(RCODES[ask_bytes(handler, query(name, **COOKIE))[3] & 0xF] for _ in range(3))
    assert handler.counts() == rcodes
    response = bytearray(query(name, **COOKIE))
    response[2] |= 0x80
    with pytest.raises(PeerError):
        handler.respond_last(request(bytes(response)))
    assert handler.counts() == {**rcodes, "dropped-response": 1}


@pytest.mark.parametrize("options", [{}, {"here": ("www.example.test",)}], ids=["", "here"])
def test_whatever_is_asked_counts_once(options: dict[str, Any]) -> None:
    handler = handler_of(**options)
    expected: Counter[str] = Counter()
    for asked in list(queries.queries())[::20] * 2:
        answer = dns.message.from_wire(ask_bytes(handler, asked), ignore_trailing=True)
        expected[RCODES[answer.rcode()]] += 1
    assert handler.counts() == expected
    assert expected.keys() >= {"noerror", "nxdomain", "refused", "notimp", "badvers"}


async def test_what_a_limit_holds_back() -> None:
    handler = handler_of(rate_limit=3, slip=2)
    for _ in range(7):
        handler.respond_last(request(query()))
    assert handler.counts() == {"noerror": 3, "limited": 2, "slipped": 2}


async def test_by_tcp() -> None:
    handler = handler_of(allow_transfer=("10.71.0.0/24",))
    async with connected(handler) as first:
        await first.send(dns.message.make_query("www.example.test", "A"))
        assert await first.receive()
        response = dns.message.make_query("www.example.test", "A")
        response.flags |= 0x8000
        await first.send(response)
        assert await first.receive() == b""
    await transferred(handler, axfr())
    assert handler.counts() == {"noerror": 1, "dropped-response": 1, "transfer": 1}


async def test_the_daemon_shows_them() -> None:
    async with bench(Dns(zones={"example.test": ZONE})) as at:
        for payload in KINDS.values():
            await at.exchange(payload)
        status = take(at.server._core, About())
    assert status.instances[0].events == dict.fromkeys(KINDS, 1)

"""Response rate limiting: what is counted together, what goes through, and that a cookie frees."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.tsigkeyring
import pytest
import trio.testing
from responder_plugins.dns import TransferKey
from responder_plugins.dns.answer.rate_limit import MAX_KINDS, RateLimit, Verdict

from tests.plugins.dns.support import SMALL, ask, handler_of, request


def query(name: str, **more: Any) -> dns.message.Message:
    return dns.message.make_query(name, "A", **more)


def with_cookie(cookie: bytes) -> dns.message.Message:
    return query("www.example.test", use_edns=0, options=[dns.edns.GenericOption("COOKIE", cookie)])


def test_the_rate_limit_by_prefix_and_kind() -> None:
    limit = RateLimit(2, 2)
    victim, beside, other = map(ip_address, ("192.0.2.1", "192.0.2.200", "192.0.3.1"))
    verdicts = [limit.judge(victim, 0, b"a", 0.0) for _ in range(4)]
    assert verdicts == [Verdict.SEND, Verdict.SEND, Verdict.DROP, Verdict.SLIP]
    assert limit.judge(beside, 0, b"a", 0.0) is Verdict.DROP  # the same /24
    assert limit.judge(other, 0, b"a", 0.0) is Verdict.SEND
    assert limit.judge(victim, 0, b"b", 0.0) is Verdict.SEND
    assert limit.judge(victim, 0, b"a", 0.5) is Verdict.SEND  # one more by then
    near, far = ip_address("2001:db8::1"), ip_address("2001:db8:0:100::1")
    one = RateLimit(1, 0)
    assert [one.judge(near, 0, b"", 0), one.judge(near, 0, b"", 0), one.judge(far, 0, b"", 0)] == [
        Verdict.SEND,
        Verdict.DROP,
        Verdict.SEND,
    ]


def test_what_is_limited_is_bounded() -> None:
    limit = RateLimit(1, 2)
    for number in range(3 * MAX_KINDS):
        limit.judge(ip_address("192.0.2.1"), 0, number.to_bytes(4), 0.0)
        assert limit.judge(ip_address("192.0.2.1"), 0, b"a", 0.0) is not Verdict.SEND or number == 0  # still known
    assert len(limit._kinds) <= 2 * MAX_KINDS


@pytest.mark.parametrize("name", ["www.example.test", "no.example.test", "chain1.example.test", "elsewhere.invalid"])
@pytest.mark.parametrize("edns", [-1, 0])
async def test_limited_answers_are_dropped_or_slip_and_a_cookie_frees(name: str, edns: int) -> None:
    handler = handler_of(rate_limit=3, slip=2)
    asking = query(name, use_edns=edns)
    answers = [handler.respond_last(request(asking.to_wire())) for _ in range(7)]
    full, silent, slipped = answers[:3], answers[3::2], answers[4::2]
    assert all(isinstance(answer, bytes) and not answer[2] & 2 for answer in full)
    assert silent == [None, None]
    for answer in slipped:
        assert isinstance(answer, bytes)
        reply = dns.message.from_wire(answer)
        assert asking.is_response(reply)
        assert reply.flags & dns.flags.TC
        assert reply.edns == asking.edns  # RFC 6891 section 6.1.1
        assert len(answer) == len(asking.to_wire())
    (cookie,) = ask(handler_of(cookie_secrets=("00" * 16,)), with_cookie(b"12345678")).options
    free = handler_of(rate_limit=3, slip=2, cookie_secrets=("ff" * 16, "00" * 16))
    for _ in range(10):
        assert isinstance(free.respond_last(request(with_cookie(cookie.to_wire() or b"").to_wire())), bytes)


async def test_random_names_share_the_limit_of_their_zone() -> None:
    handler = handler_of(rate_limit=5, slip=0)
    answers = [handler.respond_last(request(query(f"r{number}.example.test").to_wire())) for number in range(20)]
    assert sum(answer is not None for answer in answers) == 5


async def test_a_thousand_names_in_turn_are_limited(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    records = "".join(f"n{number} A 192.0.2.1\n" for number in range(1000))
    (tmp_path / "a.zone").write_text(SMALL + records)
    zones = {"example.test": Path("a.zone")}
    for options, answered in (({}, 200), ({"rate_limit_all": 50}, 50), ({"rate_limit_all": 0}, 1000)):
        handler = handler_of(tmp_path, zones=zones, rate_limit=20, slip=0, **options)
        queries = [query(f"n{number}.example.test").to_wire() for number in range(1000)]
        assert sum(handler.respond_last(request(each)) is not None for each in queries) == answered


async def test_a_signature_exempts_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever overhears a signed query can send it again, from any source, for as long as its time holds."""
    signed = query("www.example.test")
    signed.use_tsig(dns.tsigkeyring.from_text({"key.test": "c2VjcmV0"}))
    data = signed.to_wire()
    handler = handler_of(rate_limit=3, slip=0, transfer_keys={"key.test": TransferKey("c2VjcmV0")})
    assert sum(handler.respond_last(request(data, peer="198.51.100.7")) is not None for _ in range(10)) == 3

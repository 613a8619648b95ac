"""Compiled answers are those of the processor, over the generated queries and over what clients send most."""

from __future__ import annotations

import random
from ipaddress import ip_address
from pathlib import Path

import attrs
import dns.edns
import dns.message
import dns.tsigkeyring
import pytest
from responder_plugins.dns import TransferKey
from responder_plugins.dns.answer.compiled import MAX_SHAPES
from responder_plugins.dns.answer.cookies import Cookies
from responder_plugins.dns.answer.processor import Response
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.message import wire

from tests.plugins.dns import queries
from tests.plugins.dns.differences import differing
from tests.plugins.dns.support import SMALL, ask, ask_bytes, handler_of, request, texts

# An EDNS record of the usual size, and none: the shapes that are asked most.
USUAL = [b"", b"\0\0\x29\x04\xd0\0\0\x80\0\0\0"]


def processed(handler: DnsHandler, query: bytes) -> Response:
    return handler.processor.answer(wire.parse(query), query, request(query))


def plain_queries() -> list[bytes]:
    """All names with all quiet types in the usual shapes."""
    return [
        b"\0\7\1\0\0\1\0\0\0\0"
        + len(opt and b"x").to_bytes(2)
        + (name.to_wire() or b"")
        + rdtype.to_bytes(2)
        + b"\0\1"
        + opt
        for name in queries.names()
        for rdtype in (*queries.QUIET_TYPES, 255, 64)
        for opt in USUAL
    ]


@pytest.mark.parametrize("source", ["plain", "generated"])
def test_compiled_answers_are_the_processors(source: str) -> None:
    handler = handler_of()
    every = plain_queries() if source == "plain" else list(queries.queries())
    compiled = 0
    for query in every:
        handler.respond_last(request(query))  # so that its shape is known
        found = handler.compiled.answer(query)
        if found is not None:
            compiled += 1
            answer, kind = found
            longer = processed(handler, query)
            assert answer[:2] == longer.data[:2]
            assert differing(answer, longer.data) == ()
            assert kind == longer.kind or longer.rcode == wire.REFUSED
        remembered = handler.respond_last(request(b"\xff\xff" + query[2:]))
        assert isinstance(remembered, bytes)
        assert remembered[:2] == b"\xff\xff"
        assert differing(query[:2] + remembered[2:], processed(handler, query).data) == ()
    # All but DNAME, ANY, DS, and what is asked of other types in odd shapes.
    assert compiled > len(every) * (0.8 if source == "plain" else 0.3)


def test_the_question_comes_back_as_it_was_sent() -> None:
    handler = handler_of()
    for name in ("wWw.ExAmple.tEST", "nO.eXample.test", "mX.example.test"):
        for kind in ("A", "TXT"):
            query = dns.message.make_query(name, kind).to_wire()
            for _ in range(2):
                assert ask_bytes(handler, query)[12 : len(query)] == query[12:]


def test_an_answer_too_long_for_its_shape_is_cut_by_the_process(tmp_path: Path) -> None:
    many = "".join(f"many A 192.0.2.{number}\n" for number in range(60))
    (tmp_path / "a.zone").write_text(SMALL + many)
    handler = handler_of(tmp_path, zones={"example.test": Path("a.zone")})
    for _ in range(2):
        reply = ask(handler, dns.message.make_query("many.example.test", "A"))
        assert reply.flags & dns.flags.TC
        assert texts(reply.answer) == []
        reply = ask(handler, dns.message.make_query("many.example.test", "A", use_edns=0, payload=1232))
        assert not reply.flags & dns.flags.TC
        assert len(texts(reply.answer)) == 60


def test_shapes_are_bounded() -> None:
    handler = handler_of()
    for size in range(3000):
        ask(handler, dns.message.make_query("www.example.test", "A", use_edns=0, payload=size))
    assert len(handler.compiled._shapes) <= MAX_SHAPES


def test_a_child_zone_beside_its_parent(tmp_path: Path) -> None:
    (tmp_path / "p.zone").write_text(
        SMALL + "child NS ns.child\nns.child A 192.0.2.1\nchild DS 1 8 2 " + "ab" * 32 + "\n"
    )
    (tmp_path / "c.zone").write_text("@ 60 SOA ns h 9 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.99\n")
    handler = handler_of(tmp_path, zones={"example.test": Path("p.zone"), "child.example.test": Path("c.zone")})
    for _ in range(2):
        reply = ask(handler, dns.message.make_query("ns.child.example.test", "A"))
        assert texts(reply.answer) == ["ns.child.example.test. 60 A 192.0.2.99"]
        # RFC 4035 section 3.1.4.1: DS belongs to the parent.
        assert len(ask(handler, dns.message.make_query("child.example.test", "DS")).answer) == 1
        reply = ask(handler, dns.message.make_query("no.child.example.test", "A"))
        assert [str(rrset.name) for rrset in reply.authority] == ["child.example.test."]
        assert ask(handler, dns.message.make_query("x.example.test", "A")).rcode() == 3


def test_a_child_zone_that_its_parent_does_not_delegate(tmp_path: Path) -> None:
    (tmp_path / "p.zone").write_text(SMALL)
    (tmp_path / "c.zone").write_text("@ 60 SOA ns h 9 2 3 4 5\n@ 60 NS ns\n")
    handler = handler_of(tmp_path, zones={"example.test": Path("p.zone"), "child.example.test": Path("c.zone")})
    assert ask(handler, dns.message.make_query("no.example.test", "A")).rcode() == 3  # a way is known from here on
    for _ in range(2):
        for name, rcode in (("child.example.test", 0), ("x.child.example.test", 3), ("x.no.example.test", 3)):
            reply = ask(handler, dns.message.make_query(name, "A"))
            apex = "child.example.test." if "child" in name else "example.test."
            assert (reply.rcode(), str(reply.authority[0].name)) == (rcode, apex)


def test_an_alias_is_followed_into_another_zone(tmp_path: Path) -> None:
    (tmp_path / "a.zone").write_text(SMALL + "out CNAME www.other.test.\ngone CNAME no.other.test.\n")
    (tmp_path / "b.zone").write_text(SMALL)
    handler = handler_of(tmp_path, zones={"example.test": Path("a.zone"), "other.test": Path("b.zone")})
    assert texts(ask(handler, dns.message.make_query("out.example.test", "A")).answer) == [
        "out.example.test. 300 CNAME www.other.test.",
        "www.other.test. 300 A 192.0.2.80",
    ]
    # RFC 6604: the rcode is that of the last name.
    reply = ask(handler, dns.message.make_query("gone.example.test", "A"))
    assert (reply.rcode(), str(reply.authority[0].name)) == (3, "other.test.")


def test_what_is_remembered_whole_is_bounded_in_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.zone").write_text(SMALL + f'* TXT "{"x" * 250}" "{"x" * 250}" "{"x" * 250}"\n')
    handler = handler_of(tmp_path, zones={"example.test": Path("a.zone")})
    for number in range(30_000):
        ask_bytes(handler, dns.message.make_query(f"n{number}.example.test", "TXT", use_edns=0).to_wire())
    held = handler._packets
    assert sum(len(key) + len(rest) for table in (held.fresh, held.older) for key, rest in table.items()) < 2**24


def test_what_depends_on_the_client_is_not_remembered(tmp_path: Path) -> None:
    handler = handler_of(here=("router.example.test",), transfer_keys={"key.test": TransferKey("c2VjcmV0")})
    cookie = dns.message.make_query(
        "www.example.test", "A", use_edns=0, options=[dns.edns.GenericOption("COOKIE", b"12345678")]
    )
    signed = dns.message.make_query("www.example.test", "A")
    signed.use_tsig(dns.tsigkeyring.from_text({"key.test": "c2VjcmV0"}))
    here = dns.message.make_query("router.example.test", "A")
    for query in (cookie, signed, here):
        wire = query.to_wire()
        assert len({ask_bytes(handler, wire, f"10.71.0.{last}", peer=f"10.71.0.{last + 8}") for last in (1, 2)}) == (
            1 if query is signed else 2
        )
    assert len(handler._packets) == 0


def test_patterns_hold_for_names_of_one_length_only(tmp_path: Path) -> None:
    """Names of 255 bytes, the cut itself, glue, and a target below its own wildcard."""
    (tmp_path / "a.zone").write_text(
        SMALL + "sub NS ns.sub\nns.sub A 192.0.2.1\n*.w MX 1 foo.w\n*.l CNAME a.l\n*.c CNAME www\nb.n.c TXT x\n"
    )
    handler = handler_of(tmp_path, zones={"example.test": Path("a.zone")})
    labels = [b"", b"\2ns", b"\2nt", b"\3foo", b"\3bar", b"\1a", b"\1b", b"\1n"]
    long = [(b"\x3f" + b"y" * 63) * 3 + bytes((size - 1,)) + b"z" * (size - 1) for size in (2, 30, 40, 46, 47)]
    for above in (b"\3sub", b"\1w", b"\1l", b"\1c", b"\1n\1c"):
        for label in (*labels, *long, b"\1\0"):
            name = label + above + b"\7example\4test\0"
            for kind in (b"\0\1", b"\0\x0f", b"\0\2"):
                query = b"\0\7\1\0\0\1\0\0\0\0\0\0" + name + kind + b"\0\1"
                for _ in range(2):
                    answer = ask_bytes(handler, query)
                assert differing(answer, processed(handler, query).data) == ()


async def test_a_cookie_behind_a_compiled_answer() -> None:
    """Of both ways the same, whatever the cookie and the room."""
    handler, counted = handler_of(), handler_of(rate_limit=1e9)
    cookies = Cookies((bytes(16),), lambda: 1e9)
    for each in (handler, counted):
        each.processor.settings = attrs.evolve(each.processor.settings, cookies=cookies)
    good, _ = cookies.answer(b"12345678", ip_address("10.71.0.9"))
    rng = random.Random(7873)  # noqa: S311 - the same ones each time
    for plain in rng.sample([query for query in plain_queries() if query[-11:-8] == b"\0\0\x29"], 2000):
        cookie = rng.choice([b"12345678", good, b"87654321" + good[8:], good[:-1] + b"x", good + b"x", b"123456789"])
        size = rng.choice([0, 512, 1232, 4096])
        option = b"\0\x0a" + len(cookie).to_bytes(2) + cookie
        query = plain[:-8] + size.to_bytes(2) + plain[-6:-2] + len(option).to_bytes(2) + option
        longer = processed(handler, query)
        for asked in (handler, counted, handler):
            answer = ask_bytes(asked, query)
            assert differing(answer, longer.data) == ()
            assert dns.message.from_wire(answer).options == dns.message.from_wire(longer.data).options
        assert handler._process(request(query), query).exempt == longer.exempt == (cookie is good)


def test_bytes_that_look_like_a_cookie_but_are_none() -> None:
    handler = handler_of()
    ask(handler, dns.message.make_query("www.example.test", "A", use_edns=0))
    cookie = b"\0\x0c\0\x0a\0\x08abcdefgh"
    head, question = b"\0\7\1\0\0\1\0\0\0\0\0\1", b"\3www\7example\4test\0\0\1\0\1"
    other = b"\0\0\x10\0\1\0\0\0\0"
    opt = b"\0\0\x29\x04\xd0\0\0\0\0"
    for query in (
        head + question + other + cookie,
        head + question + cookie,
        head + question + b"\0\0\x29" + cookie,
        head + question + opt + b"\0\xfa" + cookie[2:],
    ):
        assert ask_bytes(handler, query) == processed(handler, query).data

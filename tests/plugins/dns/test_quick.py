"""The quick way says what the long way says, over the generated queries and over what clients send most."""

from __future__ import annotations

from pathlib import Path

import dns.message
import pytest
from responder_plugins.dns import wire
from responder_plugins.dns.handler import DnsHandler

from tests.plugins.dns import queries
from tests.plugins.dns.asking import SMALL, ask, ask_bytes, handler_of, request, texts
from tests.plugins.dns.differences import differing

# An EDNS record of the usual size, and none: the shapes that are asked most.
USUAL = [b"", b"\0\0\x29\x04\xd0\0\0\x80\0\0\0"]


def long_way(handler: DnsHandler, query: bytes) -> bytes:
    return handler.answering.answer(wire.parse(query), query, request(query)).data


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
def test_both_ways_say_the_same(source: str) -> None:
    handler = handler_of()
    every = plain_queries() if source == "plain" else list(queries.queries())
    quick = 0
    for query in every:
        handler.respond(request(query))  # so that its shape is known
        answer = handler.quick.answer(query)
        if answer is not None:
            quick += 1
            longer = long_way(handler, query)
            assert answer[:2] == longer[:2]
            assert differing(answer, longer) == ()
    # Most of what exists, and most denials, go this way: the rest is wildcards, delegations, aliases.
    assert quick > len(every) * (0.4 if source == "plain" else 0.15)


def test_the_question_comes_back_as_it_was_sent() -> None:
    handler = handler_of()
    for name in ("wWw.ExAmple.tEST", "nO.eXample.test", "mX.example.test"):
        for kind in ("A", "TXT"):
            query = dns.message.make_query(name, kind).to_wire()
            for _ in range(2):
                assert ask_bytes(handler, query)[12 : len(query)] == query[12:]


def test_an_answer_too_long_for_its_shape_is_cut_by_the_long_way(tmp_path: Path) -> None:
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
    assert len(handler.quick._shapes) <= 1024


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

"""What stands around the records: EDNS, cookies, errors, CHAOS, signatures, truncation; and what limits let through."""

from __future__ import annotations

import logging
import time
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import attrs
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import pytest
import trio
import trio.testing
from responder_plugins.dns import Dns, Etcd, Secondary, TransferKey, Update
from responder_plugins.dns.answer.cookies import Cookies, siphash24

from responder import ConfigErrors, Context, testing
from tests.plugins.dns.support import SMALL, ask, ask_bytes, handler_of, texts

SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="  # noqa: S105 - of the tests only
KEYRING = dns.tsigkeyring.from_text({"key.test": SECRET})


def query(name: str = "www.example.test", kind: str = "A", rdclass: str = "IN", **more: Any) -> dns.message.Message:
    return dns.message.make_query(name, kind, rdclass, **more)


def with_cookie(cookie: bytes, **more: Any) -> dns.message.Message:
    return query(use_edns=0, options=[dns.edns.GenericOption("COOKIE", cookie)], **more)


def option(reply: dns.message.Message, code: int) -> list[bytes]:
    return [each.to_wire() or b"" for each in reply.options if each.otype == code]


# EDNS


def test_opt_only_if_asked_with_our_size_and_do_copied() -> None:
    handler = handler_of()
    for name in ("www.example.test", "no.example.test", "chain1.example.test"):
        for _ in range(2):  # by the processor, then from memory
            assert ask(handler, query(name)).edns == -1
            reply = ask(handler, query(name, use_edns=0, payload=4096, want_dnssec=True))
            assert (reply.edns, reply.payload, reply.ednsflags & dns.flags.DO) == (0, 1232, dns.flags.DO)
            assert reply.options == ()


def test_another_version_gets_badvers_and_unknown_options_are_ignored() -> None:
    reply = ask(handler_of(), query(use_edns=1))
    assert (reply.rcode(), reply.edns, texts(reply.answer)) == (dns.rcode.BADVERS, 0, [])
    assert len(ask(handler_of(), query(use_edns=0, options=[dns.edns.GenericOption(65001, b"x")])).answer) == 1


def test_nsid_is_told_where_it_is_set_and_asked_for() -> None:
    asking = query(use_edns=0, options=[dns.edns.GenericOption("NSID", b"")])
    assert option(ask(handler_of(identity="one"), asking), 3) == [b"one"]
    assert option(ask(handler_of(identity="one"), query(use_edns=0)), 3) == []
    assert option(ask(handler_of(), asking), 3) == []


def test_extended_errors_tell_why() -> None:
    assert option(ask(handler_of(), query("elsewhere.invalid", use_edns=0)), 15) == [b"\0\x14"]
    assert ask(handler_of(), query("elsewhere.invalid")).rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize(("payload", "limit"), [(None, 512), (100, 512), (600, 600), (4096, 1232)])
def test_answers_are_cut_at_whole_rrsets(tmp_path: Path, payload: int | None, limit: int) -> None:
    long = "".join(f'long TXT "{number:03}{"x" * 200}"\n' for number in range(8))
    (tmp_path / "a.zone").write_text(SMALL + long + "alias CNAME long\n")
    handler = handler_of(tmp_path, zones={"example.test": Path("a.zone")})
    asking = query("alias.example.test", "TXT", use_edns=False if payload is None else 0, payload=payload or 0)
    wire = ask_bytes(handler, asking.to_wire())
    reply = dns.message.from_wire(wire)
    assert len(wire) <= limit
    assert reply.flags & dns.flags.TC
    assert texts(reply.answer) == ["alias.example.test. 300 CNAME long.example.test."]


def test_glue_that_does_not_fit_sets_tc_and_other_addresses_do_not(tmp_path: Path) -> None:
    inside = "".join(f"cut NS ns{number}.cut\nns{number}.cut AAAA ::{number}\n" for number in range(10, 25))
    beside = "".join(f"mx MX 1 m{number}\nm{number} AAAA ::{number}\n" for number in range(10, 25))
    (tmp_path / "a.zone").write_text(SMALL + inside + beside)
    handler = handler_of(tmp_path, zones={"example.test": Path("a.zone")})
    assert ask(handler, query("x.cut.example.test")).flags & dns.flags.TC  # RFC 9471
    reply = ask(handler, query("mx.example.test", "MX"))
    assert not reply.flags & dns.flags.TC  # RFC 2181 section 9
    assert len(texts(reply.answer)) == 15


# Cookies


def test_siphash_and_cookies_by_the_vectors_of_rfc_9018() -> None:
    assert siphash24(bytes(range(16)), bytes(range(15))).hex() == "e545be4961ca29a1"
    # RFC 9018 appendix A.1: a new cookie; A.2: the same one renewed; A.3: with reserved bytes that others set.
    secret = bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf")
    client = bytes.fromhex("2464c4abcf10c957")
    first = Cookies((secret,), lambda: 1559731985.0)
    made, good = first.answer(client, ip_address("198.51.100.100"))
    assert (made.hex(), good) == ("2464c4abcf10c957010000005cf79f111f8130c3eee29480", False)
    assert first.answer(made, ip_address("198.51.100.100")) == (made, True)
    later = Cookies((secret,), lambda: 1559734385.0)
    assert later.answer(made, ip_address("198.51.100.100")) == (
        bytes.fromhex("2464c4abcf10c957010000005cf7a871d4a564a1442aca77"),
        True,
    )


def test_cookies_are_bound_to_address_time_and_secret() -> None:
    now = [1_000_000.0]
    cookies = Cookies((), lambda: now[0], {})
    here, there = ip_address("192.0.2.1"), ip_address("2001:db8::1")
    made, good = cookies.answer(b"12345678", here)
    assert (len(made), good) == (24, False)
    assert cookies.answer(made, here)[1]
    assert not cookies.answer(made, there)[1]
    assert not cookies.answer(b"87654321" + made[8:], here)[1]
    assert not cookies.answer(made[:-1] + bytes((made[-1] ^ 1,)), here)[1]
    assert not Cookies((), lambda: now[0], {}).answer(made, here)[1]
    now[0] += 3000  # RFC 9018 section 4.3: renewed after half an hour, no good after an hour
    renewed, good = cookies.answer(made, here)
    assert good
    assert renewed != made
    now[0] += 1000
    assert not cookies.answer(made, here)[1]
    assert cookies.answer(renewed, here)[1]


def test_a_rolled_secret_is_forgotten_and_the_one_before_holds() -> None:
    now = [86400.0 * 20000 - 10]
    own: dict[int, bytes] = {}
    cookies = Cookies((), lambda: now[0], own)
    client = ip_address("192.0.2.1")
    made, _ = cookies.answer(b"12345678", client)
    now[0] += 20  # the next day
    cookies.answer(b"abcdefgh", client)
    assert cookies.answer(made, client)[1]
    now[0] += 86400
    cookies.answer(b"abcdefgh", client)
    assert len(own) == 2


def test_own_secrets_outlive_a_reload() -> None:
    (cookie,) = option(ask(handler_of(), with_cookie(b"12345678")), 10)
    assert option(ask(handler_of(), with_cookie(cookie)), 10) == [cookie]


def test_a_cookie_is_answered_where_they_are_on() -> None:
    (cookie,) = option(ask(handler_of(), with_cookie(b"12345678")), 10)
    assert cookie[:8] == b"12345678"
    assert len(cookie) == 24
    assert option(ask(handler_of(cookies=False), with_cookie(b"12345678")), 10) == []


def test_a_query_for_a_cookie_alone_has_no_question() -> None:
    asking = with_cookie(b"12345678")
    asking.question.clear()
    reply = dns.message.from_wire(ask_bytes(handler_of(), asking.to_wire()))
    assert (reply.rcode(), len(option(reply, 10)), reply.question) == (dns.rcode.NOERROR, 1, [])
    reply = dns.message.from_wire(ask_bytes(handler_of(cookies=False), asking.to_wire()))
    assert reply.rcode() == dns.rcode.FORMERR


# CHAOS and classes


def test_chaos_is_off_unless_configured() -> None:
    names = ("version.bind", "version.server", "hostname.bind", "id.server")
    for name in names:
        assert ask(handler_of(), query(name, "TXT", "CH")).rcode() == dns.rcode.REFUSED
    handler = handler_of(version="7", identity="one")
    told = [texts(ask(handler, query(name, "TXT", "CH")).answer) for name in names]
    assert [line[0].split()[-1] for line in told] == ['"7"', '"7"', '"one"', '"one"']
    assert ask(handler, query("other.bind", "TXT", "CH")).rcode() == dns.rcode.REFUSED
    assert texts(ask(handler, query("version.bind", "A", "CH")).answer) == []


def test_other_classes_are_refused() -> None:
    assert ask(handler_of(), query(rdclass="HS")).rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize(("name", "count"), [("www.example.test", 2), ("no.example.test", 0)])
def test_class_any_is_answered_without_authority(name: str, count: int) -> None:
    """RFC 1034 section 6.2: other classes may have more; so do NSD and BIND."""
    for _ in range(2):
        reply = dns.message.from_wire(ask_bytes(handler_of(), query(name, rdclass="ANY").to_wire()))
        assert not reply.flags & dns.flags.AA
        assert [len(rrset) for rrset in reply.answer] == ([count] if count else [])


# Signatures


def signed(name: str = "key.test", secret: str = SECRET, **more: Any) -> dns.message.Message:
    asking = query("example.test", "SOA", **more)
    asking.use_tsig(dns.tsigkeyring.from_text({name: secret}))
    return asking


def keyed() -> Any:
    return handler_of(transfer_keys={"key.test": TransferKey(SECRET)})


@pytest.mark.parametrize("edns", [-1, 0])
def test_a_signed_query_gets_a_signed_answer(edns: int) -> None:
    asking = signed(use_edns=edns)
    wire = ask_bytes(keyed(), asking.to_wire())
    reply = dns.message.from_wire(wire, keyring=KEYRING, request_mac=asking.mac)  # raises where it is not right
    assert (reply.had_tsig, len(reply.answer)) == (True, 1)


@pytest.mark.parametrize(
    ("name", "secret", "error"), [("other.test", SECRET, 17), ("key.test", "b3RoZXI=", 16)], ids=["badkey", "badsig"]
)
def test_a_wrong_signature_is_told_and_gets_nothing(name: str, secret: str, error: int) -> None:
    wire = ask_bytes(keyed(), signed(name, secret).to_wire())
    reply = dns.message.from_wire(wire, keyring=False)
    assert (reply.rcode(), reply.answer, reply.tsig_error) == (dns.rcode.NOTAUTH, [], error)


def test_a_wrong_time_is_told_with_ours() -> None:
    asking = signed()
    late = time.time() + 1000
    handler = keyed()
    handler.processor.settings = attrs.evolve(handler.processor.settings, clock=lambda: late)
    reply = dns.message.from_wire(ask_bytes(handler, asking.to_wire()), keyring=False)
    assert (reply.rcode(), reply.tsig_error) == (dns.rcode.NOTAUTH, 18)
    assert reply.tsig is not None
    assert int.from_bytes(reply.tsig[0].other) == int(late)


# Options and zones


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zones": {}}, "nothing to serve, neither zones nor secondary, etcd or here"),
        ({"zones": {"a..b": Path("x")}}, "expected a domain name"),
        ({"here": ("x" * 64,)}, r"here\[0\]: expected a domain name"),
        ({"zones": {"example.test": Path("missing.zone")}}, r"missing\.zone: .*can't be read"),
    ],
)
def test_options_that_can_not_be_served(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=message):
        Dns(**options).prepare(Context("dns", tmp_path))


@pytest.mark.parametrize(
    "options",
    [
        {"edns_size": 100},
        {"version": ""},
        {"cookie_secrets": ("xyz",)},
        {"identity": "x" * 256},
        {"slip": -1},
        {"here_ttl": -1},
    ],
)
def test_values_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Dns(**options)


def test_a_secret_shows_nowhere() -> None:
    assert SECRET not in repr(Dns(transfer_keys={"key.test": TransferKey(SECRET)}))
    assert "ab" * 16 not in repr(Dns(cookie_secrets=("ab" * 16,)))


def test_a_broken_zone_is_not_served_and_others_are(tmp_path: Path) -> None:
    (tmp_path / "good.zone").write_text(SMALL)
    (tmp_path / "bad.zone").write_text(SMALL + "x NOTYPE 1\n")
    context = Context("dns", tmp_path)
    handler: Any = Dns(zones={"example.test": Path("good.zone"), "bad.test": Path("bad.zone")}).prepare(context)
    (complaint,) = context.complaints
    message = "zones.\"bad.test\": zone bad.test. is not served: unknown type 'NOTYPE'"
    assert str(complaint) == f"{tmp_path}/bad.zone:6: {message}"
    assert len(ask(handler, query()).answer) == 1
    reply = ask(handler, query("www.bad.test", use_edns=0))
    assert (reply.rcode(), option(reply, 15)) == (dns.rcode.SERVFAIL, [b"\0\x0e"])


@pytest.mark.parametrize(
    "others",
    [
        {"secondary": {"other.test": Secondary(primaries=("192.0.2.53",))}},
        {"etcd": Etcd(zones=("cluster.test",))},
        {"here": ("router.lan",)},
    ],
)
def test_broken_zones_do_not_stop_what_comes_from_elsewhere(others: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "bad.zone").write_text("broken")
    context = Context("dns", tmp_path)
    Dns(zones={"example.test": Path("bad.zone")}, **others).prepare(context)
    assert "zone example.test. is not served: a record without a type" in str(context.complaints[0])


def test_a_damaged_journal_of_updates_does_not_stop_others(tmp_path: Path) -> None:
    (tmp_path / "good.zone").write_text(SMALL)
    (tmp_path / "journals").mkdir()
    (tmp_path / "journals" / "zone.example.test.journal").write_text("something else")
    update = {"example.test": Update(allow=(ip_network("192.0.2.0/24"),))}
    context = Context("dns", tmp_path, tmp_path)
    others = {"other.test": Secondary(primaries=("192.0.2.53",))}
    Dns(zones={"example.test": Path("good.zone")}, update=update, secondary=others).prepare(context)
    assert "example.test. is not served: its updates are not to be had" in str(context.complaints[0])


def test_a_zone_that_breaks_goes_on_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "a.zone"
    file.write_text(SMALL)
    before = handler_of(tmp_path, zones={"example.test": Path("a.zone")})
    file.write_text("broken")
    context = Context("dns", tmp_path)  # as a reload does, the old one still serving
    after: Any = Dns(zones={"example.test": Path("a.zone")}).prepare(context)
    assert "is still served as it was" in str(context.complaints[0])
    assert texts(ask(after, query()).answer) == texts(ask(before, query()).answer) != []


class _Stopping:
    reason = None

    def __init__(self) -> None:
        self.event = trio.Event()

    async def wait(self) -> str:
        await self.event.wait()
        return "stop"


class _Network:
    instance = "dns"

    def __init__(self) -> None:
        self.stopping = _Stopping()


async def test_a_watched_zone_is_swapped_and_a_broken_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "a.zone"
    file.write_text(SMALL)
    handler = handler_of(tmp_path, zones={"example.test": Path("a.zone")}, watch=True)
    first = handler.processor.catalog
    for _ in range(2):
        assert texts(ask(handler, query()).answer) == ["www.example.test. 300 A 192.0.2.80"]
    await handler.look()
    assert handler.processor.catalog is first
    file.write_text(SMALL.replace("192.0.2.80", "192.0.2.81"))
    await handler.look()
    assert texts(ask(handler, query()).answer) == ["www.example.test. 300 A 192.0.2.81"]
    file.write_text("broken")
    await handler.look()
    assert "still served as it was" in caplog.text
    assert texts(ask(handler, query()).answer) == ["www.example.test. 300 A 192.0.2.81"]
    file.write_text(SMALL + "more A 192.0.2.82\n")
    await handler.look()
    assert len(ask(handler, query("more.example.test")).answer) == 1


async def test_run_looks_every_two_seconds_and_says_at_the_end_what_was_answered(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    handler = handler_of(watch=True)
    network: Any = _Network()
    looks: list[float] = []

    async def look() -> None:
        looks.append(trio.current_time())
        if len(looks) == 3:
            network.stopping.event.set()

    handler.look = look  # type: ignore[method-assign]  # when it is called is what counts here
    ask(handler, query("elsewhere.invalid"))
    with trio.fail_after(60):
        await handler.run(network)
    assert looks == pytest.approx([2, 4, 6])
    assert "queries were counted plugin=dns counts={'refused': 1}" in caplog.text


def test_times_and_sizes_are_written_as_those_of_all_plugins() -> None:
    read = testing.options(Dns, here_ttl="1m", idle_timeout="30s", connection_time="1h 30m", edns_size="4k")
    assert read == Dns(here_ttl=60, idle_timeout=30, connection_time=5400, edns_size=4000)

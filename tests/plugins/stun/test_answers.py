"""What STUN clients are told by UDP, on the fake network."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from responder_plugins.stun import Stun
from trio.testing import MockClock

from responder import Exchange, Peer, PeerError, Via
from responder.testing import (
    amplifies_at_most,
    bench,
    exchange,
    hostile,
    instances,
    keeps_no_state,
    never_answers,
    options,
)
from tests.fakes import LAN

from .support import (
    CLASSIC,
    COOKIE,
    SAMPLE_IPV4_RESPONSE,
    SAMPLE_LONG_TERM_REQUEST,
    SAMPLE_REQUEST,
    TRANSACTION,
    Told,
    attribute,
    change,
    handler_of,
    message,
    request_for,
    told,
    with_fingerprint,
)

PLAIN = Stun(behavior_discovery=False)


async def ask(payload: bytes, plugin: Stun = PLAIN, to: str = "192.0.2.1") -> Told:
    (heard,) = await exchange(plugin, payload, to=to)
    assert str(heard.source) == str(Peer(to, 3478))
    return told(heard.payload)


class TestBinding:
    @pytest.mark.parametrize(
        ("to", "client"), [("192.0.2.1", "192.0.2.9"), ("2001:db8::1", "2001:db8::9"), ("fe80::1", "fe80::9")]
    )
    async def test_the_clients_address_and_port(self, autojump_clock: MockClock, to: str, client: str) -> None:
        async with bench(PLAIN) as at:
            heard = await at.ask(message(), to)
            assert str(heard.source.address) == to
            answer = told(heard.payload)
            assert (answer.type, answer.transaction) == (0x0101, COOKIE + TRANSACTION)
            assert list(answer.attributes) == [0x0020]
            assert answer.address(0x0020) == str(Peer(client, at.client.port))

    async def test_attributes_change_nothing_that_need_not_be_understood(self, autojump_clock: MockClock) -> None:
        plain = await ask(message())
        assert await ask(message(attributes=attribute(0x8022, b"client") + attribute(0xC057, b"\1"))) == plain

    async def test_credentials_are_passed_over(self, autojump_clock: MockClock) -> None:
        answer = await ask(SAMPLE_LONG_TERM_REQUEST)
        assert (answer.type, list(answer.attributes)) == (0x0101, [0x0020])

    async def test_a_fingerprint_is_answered_with_one(self, autojump_clock: MockClock) -> None:
        answer = await ask(with_fingerprint(message()))
        assert list(answer.attributes) == [0x0020, 0x8028], "`told` has looked at it"
        answer = await ask(with_fingerprint(message(attributes=attribute(0x7FFF))))
        assert list(answer.attributes) == [0x0009, 0x000A, 0x8028]

    async def test_software_is_told_where_it_is_set(self, autojump_clock: MockClock) -> None:
        plugin = Stun(behavior_discovery=False, software="a lab's server")
        for payload in (message(), message(attributes=attribute(0x8022, b"x")), message(attributes=attribute(0x7FFF))):
            assert (await ask(payload, plugin)).attributes[0x8022] == b"a lab's server"
        assert 0x8022 not in (await ask(message(transaction=CLASSIC), plugin)).attributes


class TestErrors:
    async def test_what_is_not_understood_is_named(self, autojump_clock: MockClock) -> None:
        """RFC 8489 section 6.3.1."""
        answer = await ask(SAMPLE_REQUEST)
        assert (answer.type, answer.error) == (0x0111, (420, b"Unknown Attribute"))
        assert answer.unknown == [0x0024]
        assert answer.padding == bytes(len(answer.padding))
        payload = message(attributes=attribute(0x7FFF) + attribute(0x0025) + attribute(0x0018, b"a"))
        assert (await ask(payload)).unknown == [0x7FFF, 0x0025, 0x0018]

    async def test_no_other_address_is_there(self, autojump_clock: MockClock) -> None:
        for flags in (2, 4, 6):
            assert (await ask(change(flags))).unknown == [0x0003]
        assert (await ask(message(attributes=attribute(0x0027, b"\x9c\x41\0\0")))).unknown == [0x0027]
        assert (await ask(change(0))).type == 0x0101


class TestRfc3489:
    async def test_the_mapped_address_is_told_as_it_is(self, autojump_clock: MockClock) -> None:
        answer = await ask(message(transaction=CLASSIC))
        assert (answer.type, answer.transaction) == (0x0101, CLASSIC)
        assert list(answer.attributes) == [0x0001, 0x0004]
        assert answer.address(0x0001).startswith("192.0.2.9:")
        assert answer.address(0x0004) == "192.0.2.1:3478"

    @pytest.mark.parametrize("kinds", [[0x0002], [0x0002, 0x7FFF], [0x0002, 0x0024, 0x7FFF]])
    async def test_errors_have_no_padding(self, autojump_clock: MockClock, kinds: list[int]) -> None:
        """RFC 3489 sections 11.2.9 and 11.2.10: spaces, and a type that comes twice."""
        payload = message(attributes=b"".join(attribute(kind, bytes(8)) for kind in kinds), transaction=CLASSIC)
        answer = await ask(payload)
        assert answer.error == (420, b"Unknown Attribute   ")
        assert set(answer.unknown) == set(kinds)
        assert len(answer.unknown) == len(kinds) + len(kinds) % 2
        assert answer.padding == b""


class TestSilence:
    async def test_what_is_no_request(self, autojump_clock: MockClock) -> None:
        async with bench(Stun()) as at:
            types = [0x0101, 0x0111, 0x0002, 0x0003, 0x0004, 0x0006, 0x0016, 0x3FFF]
            wrong = [b"", message()[:19], message() + b"x", SAMPLE_IPV4_RESPONSE, b"\xff" * 28]
            await never_answers(at, *(message(kind) for kind in types), *wrong)
            assert at.outcomes() == {"malformed": len(types) + len(wrong)}

    async def test_an_indication(self, autojump_clock: MockClock) -> None:
        """RFC 8489 section 6.3.2: it keeps a NAT's binding alive, and is no mistake."""
        async with bench(Stun()) as at:
            await never_answers(at, message(0x0011), with_fingerprint(message(0x0011)))
            assert at.outcomes() == {"silent": 2}

    async def test_a_wrong_fingerprint(self, autojump_clock: MockClock) -> None:
        async with bench(Stun()) as at:
            good = with_fingerprint(message())
            await never_answers(at, good[:-1] + bytes([good[-1] ^ 1]), good[:9] + b"X" + good[10:])

    async def test_attributes_that_are_none(self, autojump_clock: MockClock) -> None:
        async with bench(Stun()) as at:
            await never_answers(at, message(attributes=attribute(0x0003)), message(attributes=b"\0\6\0\x10abcd"))

    @given(hostile(message(), SAMPLE_REQUEST, change(6), message(transaction=CLASSIC)))
    def test_whatever_comes(self, payload: bytes) -> None:
        try:
            answer = handler_of(software="x").respond(request_for(payload, LAN))
        except PeerError:
            return
        assert answer is None or isinstance(answer, bytes)
        if answer is not None:
            assert told(answer).transaction == payload[4:20]


class TestBounds:
    async def test_amplification(self, autojump_clock: MockClock) -> None:
        """As the README has it: by IPv4 and IPv6, without another address and with one, and of an error."""
        error = message(attributes=attribute(0x7FFF))
        padding = message(attributes=attribute(0x0026, bytes(1500)))
        async with bench(PLAIN) as at:
            assert await amplifies_at_most(at, 1.6, message()) == 32 / 20
            assert await amplifies_at_most(at, 2.2, message(), to="2001:db8::1") == 44 / 20
            assert await amplifies_at_most(at, 2.4, error) == 56 / 24
            assert await amplifies_at_most(at, 1.01, padding) < 1.01
            assert await amplifies_at_most(at, 2.2, message(transaction=CLASSIC)) == 44 / 20
        addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]
        async with bench(options(Stun, addresses=addresses)) as at:
            assert await amplifies_at_most(at, 3.4, message()) == 68 / 20
            assert await amplifies_at_most(at, 5.8, message(), to="2001:db8::1") == 116 / 20
            assert await amplifies_at_most(at, 1.04, padding) < 1.04

    async def test_nothing_is_kept_of_forged_sources(self, autojump_clock: MockClock) -> None:
        async with bench(Stun()) as at:
            await keeps_no_state(at, message(), SAMPLE_REQUEST, message(transaction=CLASSIC))

    async def test_what_is_counted(self) -> None:
        handler = handler_of()
        payloads = [message(), change(0), message(transaction=CLASSIC), SAMPLE_REQUEST, message(0x0011), b"", b"\1"]
        for payload in [*payloads, message(0x0003), with_fingerprint(message())[:-1] + b"x"]:
            try:
                handler.respond(request_for(payload, LAN))
            except PeerError:
                continue
        assert handler.counts() == {
            "answered": 3,
            "classic": 1,
            "unknown-attribute": 1,
            "indication": 1,
            "malformed": 2,
            "bad-type": 1,
            "bad-fingerprint": 1,
        }

    async def test_a_group_and_a_broadcast_address(self, autojump_clock: MockClock) -> None:
        """The answer is the interface's: nobody has said which of its addresses is asked."""
        for to in ("239.255.70.7", "192.0.2.255"):
            for payload, kinds in ((message(), [0x0020]), (message(transaction=CLASSIC), [0x0001])):
                (heard,) = await exchange(Stun(), payload, to=to, groups={"default": ["239.255.70.7"]})
                assert list(told(heard.payload).attributes) == kinds
        assert handler_of().respond(request_for(change(2), LAN, via=Via.MULTICAST))[:2] == b"\1\x11"


class TestWords:
    def test_what_is_said_of_an_exchange(self) -> None:
        handler = handler_of()
        request = with_fingerprint(change(6))
        for peer, mapped in (("10.71.0.9", "10.71.0.9:40000"), ("fd71::9", "[fd71::9]:40000")):
            for payload in (message(), message(transaction=CLASSIC)):
                answer = handler.respond(request_for(payload, LAN, peer=peer))
                words = handler.describe(Exchange("udp", 3478, payload, (answer,)))
                assert words == {"type": "Binding request", "mapped": mapped}
        error = handler.respond(request_for(request, LAN))
        words = handler.describe(Exchange("udp", 3478, request, (error,)))
        assert words == {"type": "Binding request", "change": "IP and port", "error": 420}
        words = handler.describe(Exchange("tcp", 3478, SAMPLE_REQUEST + message()))
        assert words == {"type": "Binding request", "software": "STUN test client"}
        assert handler.describe(Exchange("udp", 3478, message(0x0003))) == {"type": "0x0003"}
        assert handler.describe(Exchange("udp", 3478, message(0x0011))) == {"type": "Binding indication"}

    @given(hostile(SAMPLE_REQUEST, SAMPLE_IPV4_RESPONSE))
    def test_no_bytes_make_it_fail(self, data: bytes) -> None:
        for exchanged in (Exchange("udp", 3478, data), Exchange("tcp", 3478, None, (data,))):
            try:
                words = handler_of().describe(exchanged)
            except PeerError:
                continue
            assert all(isinstance(word, str | int) for word in words.values())


class TestOptions:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('addresses = ["192.0.2.1"]', "stun.addresses: expected two different addresses of IPv4, of IPv6 or of e"),
            ('addresses = ["192.0.2.1", "192.0.2.1"]', "addresses: expected two different addresses"),
            ('addresses = ["192.0.2.1", "2001:db8::1"]', "addresses: expected two different addresses"),
            ('addresses = ["192.0.2.1", "224.0.0.1"]', "addresses: expected addresses of this host, got 224.0.0.1"),
            (f'software = "{"x" * 128}"', "software: expected a text of less than 128 characters"),
            ('software = "a\\nb"', "software: expected a text"),
        ],
    )
    def test_mistakes(self, text: str, message: str) -> None:
        with pytest.raises(Exception, match=message):
            instances(f"[plugins.stun]\n{text}\n")

    def test_as_the_readme_has_them(self) -> None:
        assert options(Stun) == Stun(True, (), "")
        (instance,) = instances("[plugins.stun]\nport = 13478\nports = { other = 13479 }\n")
        assert [(each.name, each.port, each.tcp) for each in instance.services] == [
            ("default", 13478, True),
            ("other", 13479, True),
        ]

    def test_without_behavior_discovery_there_is_one_port(self) -> None:
        (instance,) = instances("[plugins.stun]\nbehavior_discovery = false\nport = 13478\n")
        assert [(each.name, each.port) for each in instance.services] == [("default", 13478)]


def test_it_answers_before_it_knows_of_others() -> None:
    """`run` tells the ports, and may come after the first request."""

    async def main() -> None:
        await trio.lowlevel.checkpoint()
        answer = handler_of().respond(request_for(message(), LAN))
        assert isinstance(answer, bytes)
        assert list(told(answer).attributes) == [0x0020]

    trio.run(main)

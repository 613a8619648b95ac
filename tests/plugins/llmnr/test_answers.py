"""Queries and their answers on a fake network: whose names, which addresses, and what gets silence."""

from __future__ import annotations

import dns.message
import pytest
import trio
from hypothesis import given
from responder_plugins.llmnr import Llmnr
from responder_plugins.llmnr.verifier import State
from trio.testing import MockClock

from responder import PASS, PeerError
from responder.testing import FakeNetwork, bench, hostile, options
from tests.fakes import GUEST, LAN

from .support import GROUP4, GROUP6, TC, VERIFIED, C, T, flags_of, handler_of, query, records, request_for

LAB = Llmnr(("lab", "Other.example"))


async def ask(payload: bytes, to: str = GROUP4, plugin: Llmnr = LAB, within: float = 1.0) -> list[bytes]:
    async with bench(plugin) as at:
        await trio.sleep(VERIFIED)
        return [each.payload for each in await at.exchange(payload, to, within=within)]


V4 = ["A 192.0.2.1", "A 192.0.2.2"]
V6 = ["AAAA 2001:db8::1", "AAAA fe80::1"]


async def one(stream: trio.abc.ReceiveStream) -> bytes:
    """The next message of a TCP connection."""

    async def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += await stream.receive_some(size - len(data))
        return data

    return await exactly(int.from_bytes(await exactly(2)))


class TestAnswers:
    @pytest.mark.parametrize("group", [GROUP4, GROUP6])
    @pytest.mark.parametrize(
        ("name", "kind", "wanted"),
        [
            ("lab", "A", V4),
            ("LAB", "A", V4),
            ("lab.", "AAAA", V6),
            ("lab", "ANY", [*V4, *V6]),
            ("other.EXAMPLE", "A", V4),
            # Section 2.3 (f): no record of that type, and an answer nevertheless.
            ("lab", "MX", []),
            ("lab", "SOA", []),
            ("1.2.0.192.in-addr.arpa", "PTR", ["PTR lab.", "PTR Other.example."]),
            ("1.2.0.192.IN-ADDR.ARPA", "ANY", ["PTR lab.", "PTR Other.example."]),
            ("1.2.0.192.in-addr.arpa", "A", []),
            (f"1.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa", "PTR", ["PTR lab.", "PTR Other.example."]),
        ],
    )
    async def test_own_names(
        self, autojump_clock: MockClock, group: str, name: str, kind: str, wanted: list[str]
    ) -> None:
        (answer,) = await ask(query(name, kind), group)
        assert sorted(records(answer)) == sorted(wanted)
        message = dns.message.from_wire(answer)
        assert (message.id, message.rcode(), flags_of(answer)) == (7, 0, dns.flags.QR)
        assert message.question[0].name.to_text(omit_final_dot=name[-1] != ".") == name, "in the case of the query"
        assert {rrset.ttl for rrset in message.answer} <= {30}

    async def test_the_answer_is_unicast_to_the_source_port_from_the_links_own_address(
        self, autojump_clock: MockClock
    ) -> None:
        async with bench(LAB) as at:
            await trio.sleep(VERIFIED)
            (heard,) = await at.exchange(query(), GROUP4, within=1)
            assert (str(heard.source.address), heard.source.port) == ("192.0.2.1", 5355)
            assert str(heard.destination) == "192.0.2.9"
            assert heard.hop_limit == 255, "section 2.5"
            (heard,) = await at.exchange(query(), GROUP6, within=1)
            assert str(heard.source.address) == "fe80::1"

    async def test_a_verified_name_is_answered_without_delay(self, autojump_clock: MockClock) -> None:
        assert len(await ask(query(), within=0)) == 1

    @pytest.mark.parametrize("number", [1, 2])
    async def test_each_link_gets_its_own_addresses_and_not_the_others(
        self, autojump_clock: MockClock, number: int
    ) -> None:
        network = FakeNetwork()
        host = network.host("host")
        clients = []
        for link in (1, 2):
            wire = network.link(f"link{link}")
            host.attach(wire, f"10.7{link}.0.1/24", f"fd7{link}::1/64", "fe80::1/64")
            other = network.host(f"client{link}")
            other.attach(wire, f"10.7{link}.0.9/24", "fe80::9/64")
            clients.append(other.client())
        async with host.serve(Llmnr(("lab",))):
            await trio.sleep(VERIFIED)
            client = clients[number - 1]
            for group in (GROUP4, GROUP6):
                await client.send(query(kind="ANY"), group, 5355)
                heard = await client.receive()
                wanted = [f"A 10.7{number}.0.1", f"AAAA fd7{number}::1", "AAAA fe80::1"]
                assert sorted(records(heard.payload)) == wanted
                # An address of the other link is not this link's business.
                await client.send(query(f"1.0.7{3 - number}.10.in-addr.arpa", "PTR"), group, 5355)
                await client.send(query(f"1.0.7{number}.10.in-addr.arpa", "PTR"), group, 5355)
                assert records((await client.receive()).payload) == ["PTR lab."]

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        ("source", "group", "kind", "wanted"),
        [
            ("192.0.2.9", GROUP4, "A", ["192.0.2.1", "192.0.2.2", "169.254.0.1"]),
            ("169.254.0.9", GROUP4, "A", ["169.254.0.1", "192.0.2.1", "192.0.2.2"]),
            ("2001:db8::9", GROUP6, "AAAA", ["2001:db8::1", "fe80::1"]),
            ("fe80::9", GROUP6, "AAAA", ["fe80::1", "2001:db8::1"]),
        ],
    )
    async def test_addresses_of_the_askers_scope_come_first(
        self, autojump_clock: MockClock, source: str, group: str, kind: str, wanted: list[str], stream: bool
    ) -> None:
        """Section 2.6 (d) and (e)."""
        network = FakeNetwork()
        link = network.link("eth0")
        host, asking = network.host("host"), network.host("asking")
        host.attach(link, "169.254.0.1/16", "192.0.2.1/24", "192.0.2.2/24", "fe80::1/64", "2001:db8::1/64")
        interface = asking.attach(link, f"{source}/{16 if source.startswith('169') else 64 if ':' in source else 24}")
        payload = query(kind=kind)
        async with host.serve(LAB):
            await trio.sleep(VERIFIED)
            if stream:
                connection = await asking.connect(wanted[0], 5355, interface=interface)
                await connection.send_all(len(payload).to_bytes(2) + payload)
                answer = await one(connection)
                await connection.aclose()
            else:
                client = asking.client(source)
                await client.send(payload, group, 5355)
                answer = (await client.receive()).payload
        assert records(answer) == [f"{kind} {each}" for each in wanted]


class TestSilence:
    @pytest.mark.parametrize(
        "name",
        [
            "wpad",
            "labx",
            "xlab",
            "child.lab",
            "lab.local",
            "example",
            "",
            "arpa",
            "in-addr.arpa",
            "9.2.0.192.in-addr.arpa",
        ],
    )
    async def test_a_poisoner_would_answer(self, autojump_clock: MockClock, name: str) -> None:
        for kind in ("A", "AAAA", "ANY", "PTR"):
            assert await ask(query(name, kind)) == []

    @given(hostile(query(), query("lab", "ANY", use_edns=0)))
    def test_nothing_but_own_names_is_answered_whatever_comes(self, payload: bytes) -> None:
        handler = handler_of("lab")
        handler.verifier._states = {(LAN.index, b"\3lab\0"): State.UNIQUE}
        try:
            answer = handler.respond(request_for(payload, LAN))
        except PeerError:
            return
        if isinstance(answer, bytes):
            asked = dns.message.from_wire(answer).question[0].name.to_text().lower()
            assert asked in {"lab.", *(f"{own.address.reverse_pointer}." for own in LAN.addresses)}
        else:
            assert answer in (PASS, None)

    @pytest.mark.parametrize(
        ("payload", "kind"),
        [
            (query() + b"x", "malformed"),
            (query()[:-1], "malformed"),
            (b"", "malformed"),
            (query(flags=dns.flags.from_text("QR")) and bytes([0, 7, 0x28, 0]) + query()[4:], "bad-opcode"),
            (query()[:4] + bytes([0, 0]) + query()[6:12], "bad-counts"),
            (query()[:4] + bytes([0, 2]) + query()[6:] + query()[12:], "bad-counts"),
            (query()[:6] + bytes([0, 1]) + query()[8:] + b"\3lab\0\0\1\0\1\0\0\0\0\0\4abcd", "bad-counts"),
            (query()[:8] + bytes([0, 1]) + query()[10:] + b"\3lab\0\0\1\0\1\0\0\0\0\0\4abcd", "bad-counts"),
        ],
    )
    async def test_what_section_2_1_1_has_discarded(self, autojump_clock: MockClock, payload: bytes, kind: str) -> None:
        async with bench(LAB) as at:
            await trio.sleep(VERIFIED)
            assert await at.exchange(payload, GROUP4, within=1) == []
            (heard,) = await at.exchange(query(), GROUP4, within=1)
            assert records(heard.payload) == V4
        handler = handler_of()
        with pytest.raises(PeerError):
            handler.respond(request_for(payload, LAN))
        assert handler.counts() == {kind: 1}

    @pytest.mark.parametrize("to", ["192.0.2.1", "fe80::1"])
    async def test_unicast_by_udp(self, autojump_clock: MockClock, to: str) -> None:
        assert await ask(query(), to) == []

    @pytest.mark.parametrize("kind", ["CH", "HS"])
    def test_another_class(self, kind: str) -> None:
        payload = dns.message.make_query("lab", "A", kind).to_wire()
        assert handler_of().respond(request_for(payload, LAN)) is PASS

    async def test_off_link(self, autojump_clock: MockClock) -> None:
        async with bench(LAB) as at:
            await trio.sleep(VERIFIED)
            before = at.outcomes().get("sent", 0)
            for to in (GROUP4, "192.0.2.1"):
                at.link.inject(query(), source="198.51.100.7", source_port=40000, to=to, port=5355)
            await trio.sleep(1)
            assert at.outcomes().get("sent", 0) == before
            assert at.outcomes()["malformed"] == 1, "link-scope groups are heard from any source, so llmnr itself looks"

    def test_a_response_is_left_to_others(self) -> None:
        assert handler_of().respond(request_for(query(flags=dns.flags.QR), LAN)) is PASS


class TestBits:
    async def test_t_and_tc_of_a_query_are_ignored(self, autojump_clock: MockClock) -> None:
        (answer,) = await ask(query(flags=T | TC))
        assert flags_of(answer) == dns.flags.QR

    async def test_c_of_a_query_gets_no_answer(self, autojump_clock: MockClock) -> None:
        assert await ask(query(flags=C)) == []

    async def test_what_does_not_fit_says_so_and_is_had_by_tcp(self, autojump_clock: MockClock) -> None:
        async with bench(LAB) as at:
            at.interface.add(*(f"192.0.2.{number}/24" for number in range(10, 110)))
            await trio.sleep(VERIFIED)
            (heard,) = await at.exchange(query(), GROUP4, within=1)
            assert len(heard.payload) <= 512
            assert flags_of(heard.payload) & TC
            assert 0 < len(records(heard.payload)) < 102
            (heard,) = await at.exchange(query(use_edns=0, payload=4096), GROUP4, within=1)
            assert 512 < len(heard.payload) <= 1232
            stream = await at.connect()
            await stream.send_all(len(query()).to_bytes(2) + query())
            answer = await one(stream)
            assert len(records(answer)) == 102
            assert not flags_of(answer) & TC
            await stream.aclose()

    async def test_edns_is_answered_by_edns(self, autojump_clock: MockClock) -> None:
        (answer,) = await ask(query(use_edns=0))
        assert dns.message.from_wire(answer).edns == 0


class TestTcp:
    async def test_several_queries_a_connection_and_silence_for_others_names(self, autojump_clock: MockClock) -> None:
        async with bench(LAB) as at:
            await trio.sleep(VERIFIED)
            stream = await at.connect()
            for payload in (
                query("wpad"),
                query(flags=C),
                query(ident=8),
                query("1.2.0.192.in-addr.arpa", "PTR", ident=9),
            ):
                await stream.send_all(len(payload).to_bytes(2) + payload)
            first, second = await one(stream), await one(stream)
            assert [dns.message.from_wire(each).id for each in (first, second)] == [8, 9]
            assert records(first) == V4
            assert records(second) == ["PTR lab.", "PTR Other.example."]
            await stream.aclose()

    async def test_what_is_no_query_ends_it(self, autojump_clock: MockClock) -> None:
        async with bench(LAB) as at:
            stream = await at.connect()
            await stream.send_all(b"\0\4ruin")
            assert await stream.receive_some() == b""

    async def test_who_says_nothing_is_hung_up_on(self, autojump_clock: MockClock) -> None:
        async with bench(LAB) as at:
            stream = await at.connect()
            began = trio.current_time()
            assert await stream.receive_some() == b""
            assert trio.current_time() - began == pytest.approx(10)


async def test_amplification(autojump_clock: MockClock) -> None:
    """With four addresses; each is a record with its name, 10 bytes and its own."""
    asked = query(kind="ANY")
    (answer,) = await ask(asked)
    assert len(answer) == len(asked) + 2 * (15 + 4) + 2 * (15 + 16)
    assert len(answer) / len(asked) < 6


class TestOptions:
    def test_the_default_is_this_hosts_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("platform.node", lambda: "box.example.net")
        assert options(Llmnr).names == ("box",)

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ([], "at least one"),
            ([""], "label of 0 bytes"),
            (["a..b"], "label of 0 bytes"),
            (["x" * 64], "label of 64 bytes"),
            (["lab", "LAB"], "LAB is there twice"),
        ],
    )
    def test_mistakes(self, names: list[str], message: str) -> None:
        with pytest.raises(Exception, match=message):
            options(Llmnr, names=names)

    async def test_names_are_utf_8(self, autojump_clock: MockClock) -> None:
        name = "b\u00fcro".encode()
        payload = query("xxxxx").replace(b"\5xxxxx", bytes([len(name)]) + name)
        (answer,) = await ask(payload, plugin=Llmnr(("b\u00fcro",)))
        assert records(answer) == V4


def test_what_is_counted() -> None:
    handler = handler_of()
    handler.verifier._states = {(LAN.index, b"\3lab\0"): State.UNIQUE}
    handler.respond(request_for(query(), LAN))
    handler.respond(request_for(query("other"), LAN))
    handler.respond(request_for(query(flags=C), GUEST))
    handler.respond(request_for(query(), GUEST)).close()  # type: ignore[union-attr] # a coroutine: it is tentative there
    with pytest.raises(PeerError):
        handler.respond(request_for(query(), LAN, destination="10.71.0.1"))
    assert handler.counts() == {"taken": 1, "not-here": 1, "conflict-told": 1, "tentative": 1, "unicast": 1}

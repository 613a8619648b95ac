"""Name queries and node status on a fake network: whose names, which address, and what gets silence."""

from __future__ import annotations

import struct

import pytest
import trio
from hypothesis import given
from responder_plugins.nbns import MAX_NAMES, Nbns
from responder_plugins.nbns.announcer import places_of
from responder_plugins.nbns.message import Name, decode, encode
from responder_plugins.shared.refused import Refused
from trio.testing import MockClock

from responder import PASS, ConfigErrors, PeerError
from responder.testing import FakeNetwork, bench, hostile, options
from tests.fakes import LAN

from .support import (
    LIMITED,
    NB,
    NBSTAT,
    REGISTERED,
    half_ascii,
    handler_of,
    query,
    registration,
    request_for,
    status,
)

LAB = Nbns(("LAB",), "OFFICE")
BROADCAST = "192.0.2.255"


async def ask(payload: bytes, to: str = BROADCAST, plugin: Nbns = LAB) -> list[bytes]:
    async with bench(plugin) as at:
        await trio.sleep(REGISTERED)
        return [each.payload for each in await at.exchange(payload, to)]


def answer_of(payload: bytes) -> tuple[int, int, tuple[int, ...], bytes, int, int, bytes]:
    """ident, flags, counts, name in wire form, type, TTL, rdata."""
    ident, flags, *counts = struct.unpack_from("!6H", payload)
    end = payload.index(b"\0", 12) + 1
    kind, rdclass, ttl, size = struct.unpack_from("!HHIH", payload, end)
    assert rdclass == 1
    assert len(payload) == end + 10 + size
    return ident, flags, tuple(counts), payload[12:end], kind, ttl, payload[end + 10 :]


class TestNames:
    @pytest.mark.parametrize("to", [BROADCAST, LIMITED, "192.0.2.1"])
    @pytest.mark.parametrize(
        ("name", "suffix", "group"),
        [
            ("LAB", 0x00, False),
            ("LAB", 0x03, False),
            ("LAB", 0x20, False),
            ("OFFICE", 0x00, True),
            ("OFFICE", 0x1E, True),
        ],
    )
    async def test_own_names(self, autojump_clock: MockClock, to: str, name: str, suffix: int, group: bool) -> None:
        (payload,) = await ask(query(name, suffix), to)
        ident, flags, counts, wire, kind, ttl, rdata = answer_of(payload)
        assert (ident, flags, counts) == (0x4242, 0x8500, (0, 1, 0, 0)), "RFC 1002 section 4.2.13"
        assert (wire, kind) == (half_ascii(name, suffix), NB)
        assert ttl > 0
        assert rdata == (b"\x80\0" if group else b"\0\0") + bytes([192, 0, 2, 1])

    async def test_the_address_is_the_one_that_was_asked(self, autojump_clock: MockClock) -> None:
        (payload,) = await ask(query(), "192.0.2.2")
        assert answer_of(payload)[-1] == bytes([0, 0, 192, 0, 2, 2])

    @pytest.mark.parametrize("number", [1, 2])
    async def test_each_link_gets_its_own_address(self, autojump_clock: MockClock, number: int) -> None:
        network = FakeNetwork()
        host = network.host("host")
        clients = []
        for link in (1, 2):
            wire = network.link(f"link{link}")
            host.attach(wire, f"10.7{link}.0.1/24")
            other = network.host(f"client{link}")
            other.attach(wire, f"10.7{link}.0.9/24")
            clients.append(other.client())
        async with host.serve(LAB):
            await trio.sleep(REGISTERED)
            heard = await clients[number - 1].ask(query(), f"10.7{number}.0.255", 137)
            assert str(heard.source.address) == f"10.7{number}.0.1"
            assert answer_of(heard.payload)[-1] == bytes([0, 0, 10, 70 + number, 0, 1])

    @pytest.mark.parametrize(
        ("name", "suffix"),
        [("WPAD", 0), ("LAB", 0x1B), ("OFFICE", 0x1D), ("OFFICE", 0x20), ("LABX", 0), ("lab", 0), ("*", 0), ("", 0)],
    )
    async def test_a_poisoner_would_answer(self, autojump_clock: MockClock, name: str, suffix: int) -> None:
        for to in (BROADCAST, "192.0.2.1"):
            assert await ask(query(name, suffix), to) == []

    @given(hostile(query(), status(), registration()))
    def test_nothing_but_own_names_is_answered_whatever_comes(self, payload: bytes) -> None:
        handler = handler_of()
        handler.announcer._owned = {place: set(handler.names.values()) for place in places_of(LAN)}
        try:
            answer = handler.respond(request_for(payload, LAN))
        except PeerError:
            return
        if isinstance(answer, bytes):
            assert decode(answer_of(answer)[3]) in {*handler.names, Name(b"*", 0)}
        else:
            assert answer in (PASS, None)


class TestStatus:
    @pytest.mark.parametrize("name", ["*", "LAB"])
    @pytest.mark.parametrize("to", ["192.0.2.2", BROADCAST])
    async def test_the_names_and_the_links_hardware_address(
        self, autojump_clock: MockClock, name: str, to: str
    ) -> None:
        async with bench(LAB) as at:
            await trio.sleep(REGISTERED)
            (heard,) = await at.exchange(status(name), to)
            link_address = at.interface.snapshot().link_address
        ident, flags, counts, wire, kind, ttl, rdata = answer_of(heard.payload)
        assert (ident, flags, counts, kind, ttl) == (0x4242, 0x8400, (0, 1, 0, 0), NBSTAT, 0)
        assert wire == status(name)[12:46]
        rows = [rdata[at : at + 18] for at in range(1, 1 + 18 * rdata[0], 18)]
        assert rows == [
            name.ljust(15).encode() + bytes([suffix]) + struct.pack("!H", 0x0400 | group)
            for name, suffix, group in [
                ("LAB", 0x00, 0),
                ("LAB", 0x03, 0),
                ("LAB", 0x20, 0),
                ("OFFICE", 0x00, 0x8000),
                ("OFFICE", 0x1E, 0x8000),
            ]
        ]
        statistics = rdata[1 + 18 * 5 :]
        assert (len(statistics), statistics[:6]) == (46, link_address)
        assert len(link_address) == 6

    async def test_of_another_name(self, autojump_clock: MockClock) -> None:
        assert await ask(status("OTHER"), "192.0.2.1") == []


class TestBytes:
    @pytest.mark.parametrize(
        "name", [Name(b"LAB", 0), Name(b"A" * 15, 0x20), Name(bytes(range(1, 16)), 255), Name(b"*", 0)]
    )
    def test_a_name_there_and_back(self, name: Name) -> None:
        wire = encode(name)
        assert len(wire) == 34
        assert decode(wire) == name

    def test_the_example_of_rfc_1001_section_14_1(self) -> None:
        assert decode(b"\x20EGFCEFEECACACACACACACACACACACACA\0") == Name(b"FRED", 0x20)

    @pytest.mark.parametrize(
        ("wire", "kind"),
        [
            (half_ascii("LAB", scope=b"\3NET"), "scope"),
            (half_ascii("LAB", scope=b"\3NET\3TWO"), "scope"),
            (half_ascii("LAB").replace(b"E", b"Q"), "malformed"),
            (half_ascii("LAB").lower(), "malformed"),
            (b"\x1e" + b"CA" * 15 + b"\0", "malformed"),
            (b"\x3f" + b"C" * 63 + b"\0", "malformed"),
            (b"\3LAB\0", "malformed"),
            (b"\0", "malformed"),
        ],
    )
    async def test_what_is_no_name_of_ours(self, autojump_clock: MockClock, wire: bytes, kind: str) -> None:
        payload = query()[:12] + wire + query()[46:]
        assert await ask(payload) == []
        handler = handler_of()
        with pytest.raises(PeerError):
            handler.respond(request_for(payload, LAN))
        assert handler.counts() == {kind: 1}

    def test_no_label_at_all(self) -> None:
        with pytest.raises(Refused):
            decode(b"\3abc\0")

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            query()[:-1],
            query() + b"x",
            query()[:5] + b"\2" + query()[6:] + query()[12:],
            query()[:5] + b"\0" + query()[6:12],
            query()[:-1] + b"\3",
            registration()[:-4],
            registration()[:11] + b"\0" + registration()[12:50],
            b"\x42\x42\x85\x00" + bytes(8),
        ],
    )
    async def test_what_is_no_request(self, autojump_clock: MockClock, payload: bytes) -> None:
        assert await ask(payload) == []

    async def test_ipv6_has_no_netbios(self, autojump_clock: MockClock) -> None:
        async with bench(LAB) as at:
            await trio.sleep(REGISTERED)
            assert await at.exchange(query(), "2001:db8::1") == []
        handler = handler_of()
        with pytest.raises(PeerError):
            handler.respond(request_for(query(), LAN, destination="fe80::1"))
        assert handler.counts() == {"ipv6": 1}

    @pytest.mark.parametrize("opcode", [1, 4, 6, 7, 8, 9, 15])
    async def test_another_opcode(self, autojump_clock: MockClock, opcode: int) -> None:
        payload = query()[:2] + struct.pack("!H", opcode << 11 | 0x10) + query()[4:]
        assert await ask(payload) == []


async def test_off_link(autojump_clock: MockClock) -> None:
    async with bench(LAB) as at:
        await trio.sleep(REGISTERED)
        before = at.outcomes()["sent"]
        at.spoof(query(), "198.51.100.7", to=BROADCAST)
        at.spoof(status(), "198.51.100.7")
        await trio.sleep(1)
        assert at.outcomes()["sent"] == before
        assert at.outcomes()["off-link"] == 2


async def test_amplification(autojump_clock: MockClock) -> None:
    (answer,) = await ask(query())
    assert (len(query()), len(answer)) == (50, 62)
    (answer,) = await ask(status(), "192.0.2.1")
    assert (len(status()), len(answer)) == (50, 193)


class TestOptions:
    def test_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("platform.node", lambda: "file-server-of-the-office.example.net")
        assert options(Nbns) == Nbns(("FILE-SERVER-OF",), "WORKGROUP")

    @pytest.mark.parametrize(
        ("values", "path"),
        [
            ({"names": []}, "names"),
            ({"names": [""]}, "names"),
            ({"names": ["x" * 16]}, "names"),
            ({"names": ["a*"]}, "names"),
            ({"names": ["a\\b"]}, "names"),
            ({"names": [" a"]}, "names"),
            ({"names": ["m\u00fcller"]}, "names"),
            ({"names": ["lab", "LAB"]}, "names"),
            ({"workgroup": ""}, "workgroup"),
            ({"names": ["lab"], "workgroup": "Lab"}, ""),
        ],
    )
    def test_mistakes(self, values: dict[str, object], path: str) -> None:
        with pytest.raises(ConfigErrors) as caught:
            options(Nbns, **values)
        assert [error.path for error in caught.value.errors] == [path]

    async def test_names_of_small_letters(self, autojump_clock: MockClock) -> None:
        assert len(await ask(query("LAB"), plugin=Nbns(("lab",), "office"))) == 1
        assert len(await ask(query("OFFICE", 0x1E), plugin=Nbns(("lab",), "office"))) == 1


async def test_a_node_status_of_all_names_fits_in_576_bytes(autojump_clock: MockClock) -> None:
    """RFC 1002 section 4.2.18; the IP and UDP headers are not counted."""
    plugin = Nbns(tuple(f"A-NAME-OF-15-{n:02}" for n in range(MAX_NAMES)), "OFFICE")
    (answer,) = await ask(status("*"), "192.0.2.2", plugin)
    assert len(answer) <= 576
    with pytest.raises(ValueError, match="expected 1 to 8 names, got 9"):
        Nbns(tuple(f"NAME{n}" for n in range(MAX_NAMES + 1)))

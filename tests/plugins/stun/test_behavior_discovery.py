"""RFC 5780: answers from another address and port, where the host has one."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
import trio
from responder_plugins.stun import Stun
from responder_plugins.stun.other_address import other_of, pairs_of
from trio.testing import MockClock

from responder import Interface, InterfaceAddress
from responder.testing import Bench, bench, never_answers, options

from .support import CLASSIC, attribute, change, message, told

ONE, TWO = "192.0.2.1", "192.0.2.2"


async def origin(at: Bench, payload: bytes, to: str = ONE, service: str = "default") -> tuple[str, dict[int, bytes]]:
    """Where the only answer comes from, and its attributes; the answer must say the same."""
    (heard,) = await at.exchange(payload, to, service=service)
    answer = told(heard.payload)
    assert answer.address(0x802B if 0x802B in answer.attributes else 0x0004) == str(heard.source)
    return str(heard.source), answer.attributes


class TestChangeRequest:
    @pytest.mark.parametrize("classic", [False, True])
    @pytest.mark.parametrize(("flags", "to_address", "to_port"), [(0, 0, 0), (2, 0, 1), (4, 1, 0), (6, 1, 1)])
    async def test_table_1(
        self, autojump_clock: MockClock, flags: int, to_address: int, to_port: int, classic: bool
    ) -> None:
        """RFC 5780 section 6.1: each destination, each change."""
        addresses, ports = [ONE, TWO], [3478, 3479]
        async with bench(Stun()) as at:
            for address in (0, 1):
                for port, service in enumerate(("default", "other")):
                    payload = change(flags, transaction=CLASSIC) if classic else change(flags)
                    source, attributes = await origin(at, payload, addresses[address], service)
                    assert source == f"{addresses[address ^ to_address]}:{ports[port ^ to_port]}"
                    assert (0x802C in attributes, 0x0005 in attributes) == (not classic, classic)

    async def test_the_other_address_is_told(self, autojump_clock: MockClock) -> None:
        """Section 7.4: what both changes would give, whatever was asked for."""
        async with bench(Stun()) as at:
            for flags in (0, 2, 4, 6):
                (heard,) = await at.exchange(change(flags), TWO)
                answer = told(heard.payload)
                assert list(answer.attributes) == [0x0020, 0x0001, 0x802B, 0x802C]
                assert answer.address(0x802C) == f"{ONE}:3479"
                assert answer.address(0x0020) == answer.address(0x0001) == f"192.0.2.9:{at.client.port}"
                (heard,) = await at.exchange(change(flags, transaction=CLASSIC), TWO)
                assert told(heard.payload).address(0x0005) == f"{ONE}:3479"

    async def test_a_family_with_one_address_has_no_other(self, autojump_clock: MockClock) -> None:
        async with bench(Stun()) as at:
            for to in ("2001:db8::1", "fe80::1"):
                answer = told((await at.ask(message(), to)).payload)
                assert list(answer.attributes) == [0x0020]
                assert told((await at.ask(change(2), to)).payload).unknown == [0x0003], "section 6.1"
                await never_answers(at, change(2, transaction=CLASSIC), to=to)

    async def test_by_tcp_there_is_no_other_end(self, autojump_clock: MockClock) -> None:
        """It is told, since a client can connect to it (section 4.3)."""
        async with bench(Stun()) as at:
            for service, other in (("default", 3479), ("other", 3478)):
                async with await at.connect(TWO, service=service) as stream:
                    await stream.send_all(message())
                    answer = told(bytes(await stream.receive_some()))
                    assert answer.address(0x802B) == f"{TWO}:{7_000 - 43 - other}"
                    assert answer.address(0x802C) == f"{ONE}:{other}"
                    await stream.send_all(change(4))
                    assert told(bytes(await stream.receive_some())).unknown == [0x0003]

    async def test_it_can_be_left_out(self, autojump_clock: MockClock) -> None:
        async with bench(Stun(behavior_discovery=False)) as at:
            assert list(told((await at.ask(message())).payload).attributes) == [0x0020]

    async def test_its_counts(self, autojump_clock: MockClock) -> None:
        async with bench(Stun()) as at:
            await at.exchange(change(6))
            await at.exchange(change(0))
            assert at.outcomes() == {"answered": 2}


class TestResponsePort:
    @pytest.mark.parametrize("value", [struct.pack("!HH", 40001, 0), b"\x9c\x41"])
    async def test_the_answer_goes_to_another_port(self, autojump_clock: MockClock, value: bytes) -> None:
        """Section 7.5; with CHANGE-REQUEST, too."""
        for flags, source in ((0, f"{ONE}:3478"), (6, f"{TWO}:3479")):
            changed = attribute(0x0003, struct.pack("!I", flags))
            async with bench(Stun()) as at:
                other = at.client.host.client(port=40001)
                assert await at.exchange(message(attributes=attribute(0x0027, value) + changed)) == []
                (heard,) = other.heard()
                assert str(heard.source) == source
                assert told(heard.payload).address(0x0020) == f"192.0.2.9:{at.client.port}"

    async def test_an_error_goes_to_who_asked(self, autojump_clock: MockClock) -> None:
        port = attribute(0x0027, struct.pack("!HH", 40001, 0))
        async with bench(Stun()) as at:
            other = at.client.host.client(port=40001)
            assert told((await at.ask(message(attributes=port + attribute(0x7FFF)))).payload).unknown == [0x7FFF]
            answer = told((await at.ask(message(attributes=port + attribute(0x0026, bytes(8))))).payload)
            assert (answer.type, answer.error) == (0x0111, (400, b"Bad Request")), "section 6.1"
            await never_answers(at, message(attributes=attribute(0x0027, bytes(4))))
            assert other.heard() == []


class TestWhichAddress:
    async def test_it_follows_the_interfaces(self, autojump_clock: MockClock) -> None:
        async with bench(Stun()) as at:
            assert (await origin(at, change(4)))[0] == f"{TWO}:3478"
            at.interface.remove(TWO)
            await trio.sleep(1)
            assert told((await at.ask(change(4))).payload).unknown == [0x0003]
            at.interface.add("192.0.2.7/24")
            await trio.sleep(1)
            assert (await origin(at, change(4)))[0] == "192.0.2.7:3478"

    async def test_the_config_may_say_them(self, autojump_clock: MockClock) -> None:
        """Of several interfaces, or where an interface has more than two."""
        plugin = options(Stun, addresses=[ONE, "198.51.100.1"])
        async with bench(plugin) as at:
            at.interface.add("198.51.100.1/24")
            await trio.sleep(1)
            assert (await origin(at, change(6)))[0] == "198.51.100.1:3479"
            assert told((await at.ask(change(6), TWO)).payload).unknown == [0x0003]

    async def test_one_that_is_gone_costs_the_answer(self, autojump_clock: MockClock) -> None:
        async with bench(options(Stun, addresses=[ONE, "203.0.113.9"])) as at:
            assert await at.exchange(change(4), within=1) == []
            assert at.outcomes() == {"source-gone": 1}

    def test_addresses_of_one_kind_are_paired_in_their_order(self) -> None:
        first = ["10.0.0.1", "8.8.8.1", "10.0.0.2", "8.8.8.2", "10.0.0.3", "9.9.9.9"]
        second = ["2001:4860::1", "fe80::1", "fe80::2", "fd00::1", "2001:4860::2", "10.0.0.9", "1.1.1.1"]
        interfaces = [
            Interface(number, f"eth{number}", addresses=[InterfaceAddress(each, 24) for each in addresses])
            for number, addresses in enumerate((first, second), 1)
        ]
        others = {}
        for address in first + second:
            other = other_of(ip_address(address), interfaces)
            if other is not None:
                others[address] = str(other)
        assert others == {
            "10.0.0.1": "10.0.0.2",
            "10.0.0.2": "10.0.0.1",
            "10.0.0.3": "10.0.0.1",
            "8.8.8.1": "8.8.8.2",
            "8.8.8.2": "8.8.8.1",
            "9.9.9.9": "8.8.8.1",
            "2001:4860::1": "2001:4860::2",
            "2001:4860::2": "2001:4860::1",
            "1.1.1.1": "8.8.8.1",
        }
        assert other_of(ip_address("192.0.2.1"), interfaces) is None

    def test_a_loopback_address_is_no_other_of_one_that_is_not(self) -> None:
        loopback = Interface(1, "lo", addresses=[InterfaceAddress(each, 32) for each in ("127.0.0.1", "10.99.0.1")])
        assert other_of(ip_address("10.99.0.1"), [loopback]) is None

    def test_pairs(self) -> None:
        a, b, c, d = map(ip_address, ("192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2"))
        assert pairs_of([a, b, c, d]) == {a: c, c: a, b: d, d: b}
        assert pairs_of([]) == {}

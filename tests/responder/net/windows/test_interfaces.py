"""Windows' interface table, from memory laid out as the system does it, and its change signal."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, ip_address, ip_interface
from typing import Any

import attrs
import pytest
import trio

from responder.datagram import Interface, InterfaceAddress
from responder.net.windows import interfaces as windows_interfaces
from responder.net.windows.winsock_types import AF_INET, AF_INET6, NATIVE

from .fake_winsock import sender, winsock_error
from .windows_host import LINK


class Memory:
    """Builds the linked list that GetAdaptersAddresses returns."""

    def __init__(self) -> None:
        self.keep: list[object] = []
        self.unicast: list[Any] = []
        """The addresses' entries, the last one first."""
        self.first = 0

    def _place(self, thing: ctypes.Array[ctypes.c_char] | ctypes.Structure) -> int:
        self.keep.append(thing)
        return ctypes.addressof(thing)

    def _text(self, data: bytes) -> int:
        return self._place(ctypes.create_string_buffer(data, len(data) + 2))

    def adapter(self, name: str, addresses: list[tuple[str, int] | tuple[str, int, int]], **fields: int) -> None:
        """In front of the others; `addresses` are ("address/length", DadState, Flags)."""
        unicast = 0
        for text, dad_state, *flags in reversed(addresses):
            own = ip_interface(text)
            packed = sender(own.ip, 0, family=AF_INET6 if own.version == 6 else AF_INET)
            entry = NATIVE.IP_ADAPTER_UNICAST_ADDRESS(Next=unicast, DadState=dad_state)
            entry.OnLinkPrefixLength = own.network.prefixlen
            entry.Flags = sum(flags)
            entry.Address.lpSockaddr, entry.Address.iSockaddrLength = self._text(packed), len(packed)
            unicast = self._place(entry)
            self.unicast.append(entry)
        self.first = self._place(
            NATIVE.IP_ADAPTER_ADDRESSES(
                Next=self.first,
                FriendlyName=self._text(name.encode("utf-16-le")),
                FirstUnicastAddress=unicast,
                **fields,
            )
        )


def test_the_table_is_what_the_system_tells() -> None:
    memory = Memory()
    memory.adapter("Loopback", [("127.0.0.1/8", 4)], IfIndex=1, Ipv6IfIndex=1, IfType=24, OperStatus=1, Mtu=0xFFFFFFFF)
    memory.adapter("nur v6 ü", [("fd00::1/64", 4)], Ipv6IfIndex=9, IfType=131, OperStatus=2, Flags=0x10)
    memory.adapter(
        "Ethernet 2", [("10.1.0.1/24", 4), ("10.1.0.2/31", 3), ("10.1.0.3/24", 1), ("fe80::1/64", 2)],
        IfIndex=4, IfType=6, OperStatus=1, Mtu=1500,
    )  # fmt: skip
    lo, ethernet, only6 = windows_interfaces.parse_adapters(memory.first)
    assert (lo.index, lo.name, lo.mtu) == (1, "Loopback", 0xFFFFFFFF)
    assert lo.flags == {"up", "running", "loopback", "multicast"}
    assert lo.addresses == (InterfaceAddress("127.0.0.1", 8),)
    assert (only6.index, only6.name) == (9, "nur v6 ü")
    assert only6.flags == {"point-to-point"}
    assert only6.addresses == (InterfaceAddress("fd00::1", 64),)
    assert (ethernet.index, ethernet.name, ethernet.mtu) == (4, "Ethernet 2", 1500)
    assert ethernet.flags == {"up", "running", "broadcast", "multicast"}
    # The others are not usable yet (tentative), or never (duplicate); a /31 has no broadcast address (RFC 3021).
    broadcast = IPv4Address("10.1.0.255")
    assert ethernet.addresses == (
        InterfaceAddress("10.1.0.1", 24, broadcast=broadcast),
        InterfaceAddress("10.1.0.2", 31),
    )


def test_a_clusters_address_is_no_source() -> None:
    """It is transient: it may be another host's in a moment.  Flag 1 (DNS may have it) is on an address like others."""
    memory = Memory()
    addresses = [("10.1.0.9/24", 4, 2), ("10.1.0.1/24", 4, 1), ("10.1.0.8/24", 4, 3)]
    memory.adapter("Ethernet", addresses, IfIndex=4, IfType=6)
    (ethernet,) = windows_interfaces.parse_adapters(memory.first)
    assert [str(own.address) for own in ethernet.addresses] == ["10.1.0.1"]
    assert ethernet.source_for(ip_address("239.255.70.7")) == ip_address("10.1.0.1")


def test_what_is_no_address_or_no_prefix() -> None:
    """The system says 255 where it knows no prefix length."""
    memory = Memory()
    texts = ("10.1.0.1/24", "fe80::1/64", "10.1.0.2/24", "10.1.0.3/24")
    memory.adapter("Ethernet", [(text, 4) for text in texts], IfIndex=4, IfType=6)
    empty, short, *others = memory.unicast
    empty.Address.iSockaddrLength, short.Address.iSockaddrLength = 0, 6
    for each in others:
        each.OnLinkPrefixLength = 255
    (ethernet,) = windows_interfaces.parse_adapters(memory.first)
    assert ethernet.addresses == (InterfaceAddress("10.1.0.1", 32), InterfaceAddress("fe80::1", 128))
    assert not ethernet.on_link(ip_address("10.1.0.2"))


@attrs.define
class FakeListChange:
    """A `ListChange` of which no more than `limit` signals are given; what it lacks is the family 23."""

    limit: int = 1000
    armed: int = 0
    closed: int = 0
    event: trio.Event = attrs.field(factory=trio.Event)

    def open(self, family: int) -> FakeListChange:
        if family == AF_INET6:
            raise winsock_error(10047)
        return self

    def arm(self) -> int:
        if self.armed >= self.limit:
            return 10045
        self.armed += 1
        self.event = trio.Event()
        return 0

    async def changed(self) -> None:
        await self.event.wait()  # a checkpoint in any case

    def close(self) -> None:
        self.closed += 1


async def test_a_change_is_told_when_the_signal_is_armed_again(autojump_clock: trio.testing.MockClock) -> None:
    change = FakeListChange()
    async with windows_interfaces.watch_interfaces(lambda: [LINK], change.open) as watch:
        assert change.armed == 1  # before the first enumeration
        change.event.set()
        assert await watch.changes() is None
        assert change.armed == 2  # and again before the next
        with trio.move_on_after(1000) as nothing_happened:
            await watch.changes()
        assert nothing_happened.cancelled_caught
    assert change.closed == 1


async def test_a_callback_of_the_system_is_a_change_too() -> None:
    """It tells of an IPv6 address that has left "tentative", which the other signal does not."""
    told: list[Callable[[], None]] = []

    @contextmanager
    def callbacks(function: Callable[[], None]) -> Iterator[None]:
        told.append(function)
        yield
        told.clear()

    change = FakeListChange()
    with trio.fail_after(10):
        async with windows_interfaces.watch_interfaces(lambda: [LINK], change.open, callbacks) as watch:
            (function,) = told
            await trio.to_thread.run_sync(function)
            await trio.to_thread.run_sync(function)
            assert await watch.changes() is None
    assert (told, change.closed) == ([], 1)
    await trio.to_thread.run_sync(function)  # one that comes late harms nothing


@pytest.mark.parametrize("limit", [0, 1])
async def test_without_the_signal_the_table_can_still_be_read(
    limit: int, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    change = FakeListChange(limit)
    async with windows_interfaces.watch_interfaces(lambda: [LINK], change.open) as watch:
        change.event.set()
        if limit:
            assert await watch.changes() is None  # what there was is told all the same
        assert await watch.interfaces() == [LINK]
        with trio.move_on_after(1000) as silent:
            await watch.changes()
        assert silent.cancelled_caught
    assert "no longer signalled" in caplog.text
    assert change.closed == 1


@pytest.mark.parametrize("failure", [OSError(8, "not enough memory"), RuntimeError("can't start new thread")])
async def test_nor_does_it_end_where_the_signal_can_not_be_waited_for(
    failure: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def changed(_self: FakeListChange) -> None:
        await trio.lowlevel.checkpoint()
        raise failure

    monkeypatch.setattr(FakeListChange, "changed", changed)
    with trio.fail_after(10):
        async with windows_interfaces.watch_interfaces(lambda: [LINK], FakeListChange().open) as watch:
            assert await watch.changes() is None
            assert await watch.interfaces() == [LINK]
    assert f"no longer signalled, only found by re-scanning error={failure}" in caplog.text


def test_a_missing_answer_is_no_table() -> None:
    assert windows_interfaces.parse_adapters(0) == []


def test_a_failed_enumeration_leaves_what_is_known() -> None:
    answers: Iterator[list[Interface] | None] = iter([None, [LINK], None])

    def enumerate_interfaces() -> list[Interface]:
        answer = next(answers)
        if answer is None:
            raise OSError(8, "not enough memory")
        return answer

    recent = windows_interfaces.RecentInterfaces(enumerate_interfaces, iter([0.0, 1.0, 2.0]).__next__)
    assert [list(recent()) for _ in range(3)] == [[], [LINK], [LINK]]

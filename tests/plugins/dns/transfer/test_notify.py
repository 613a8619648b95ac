"""Whom a change of a zone is told (NOTIFY, RFC 1996), from where, how often, and what becomes of it."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import attrs
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest
import trio
from responder_plugins.dns import Dns
from responder_plugins.dns.transfer import notify
from responder_plugins.dns.transfer.notify import Notifier
from responder_plugins.dns.transfer.servers import server_of
from trio.testing import MockClock

from responder import Context, IPAddress, Peer
from responder.errors import ConfigErrors
from tests.plugins.dns.support import LINK, handler_of

ZONE = """$TTL 300
@ SOA ns1 host {serial} 3600 600 86400 60
@ NS ns1
@ NS ns2
ns1 A 192.0.2.53
ns1 A 10.71.0.2
ns1 AAAA fd71::1
ns2 A 198.51.100.53
"""
SERVER = Peer("10.71.0.54", 5353)
NS2 = Peer("198.51.100.53", 53)


@attrs.define
class Asked:
    time: float
    message: dns.message.Message
    server: Peer
    source: IPAddress | None

    @property
    def serial(self) -> int:
        return int(self.message.answer[0][0].serial)


@attrs.define
class Servers:
    """The other servers.  `answer` gives the rcode; None: there is no answer."""

    answer: Callable[[Peer], dns.rcode.Rcode | None] = lambda _server: dns.rcode.NOERROR
    asked: list[Asked] = attrs.field(factory=list)

    async def ask(
        self, message: dns.message.Message, server: Peer, source: IPAddress | None, wait: float
    ) -> dns.message.Message:
        self.asked.append(Asked(trio.current_time(), message, server, source))
        rcode = self.answer(server)
        if rcode is None:
            await trio.sleep(wait)
            raise dns.exception.Timeout
        await trio.lowlevel.checkpoint()
        reply = dns.message.make_response(message)
        reply.set_rcode(rcode)
        return reply

    def times(self, server: Peer) -> list[float]:
        return [each.time for each in self.asked if each.server == server]


class OnALink:
    """What a notifier uses of its network."""

    instance = "dns"
    interfaces = (LINK,)


def see(notifier: Notifier, folder: Path, serial: int, zone: str = ZONE) -> None:
    file = folder / "a.zone"
    file.write_text(zone.format(serial=serial))
    notifier.see(handler_of(folder, zones={"example.test": file}).processor.catalog)


@asynccontextmanager
async def notifying(others: Servers, *named: Peer) -> AsyncIterator[Notifier]:
    notifier = Notifier({b"\7example\4test\0": named}, ask=others.ask)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.run, OnALink())
        yield notifier
        nursery.cancel_scope.cancel()


async def test_a_change_is_told_to_those_named_and_to_the_zone_s_other_servers(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    others = Servers()
    async with notifying(others, SERVER) as notifier:
        see(notifier, tmp_path, 7)
        await trio.sleep(1)
        assert [each.server for each in others.asked] == [SERVER, NS2]
        message = others.asked[0].message
        assert (message.opcode(), message.flags & ~0x7800) == (dns.opcode.NOTIFY, dns.flags.AA)
        assert [each.to_text() for each in message.question] == ["example.test. IN SOA"]
        assert others.asked[0].serial == 7
        # The same zone once more, and another one.
        see(notifier, tmp_path, 7)
        await trio.sleep(1)
        assert len(others.asked) == 2
        see(notifier, tmp_path, 8)
        await trio.sleep(1)
        assert [(each.server, each.serial) for each in others.asked[2:]] == [(SERVER, 8), (NS2, 8)]
        assert notifier.counts == {"notified": 4}


async def test_members_of_a_catalog_are_told_to_whom_the_catalog_is(autojump_clock: MockClock, tmp_path: Path) -> None:
    others = Servers()
    notifier = Notifier({b"\3cat\4test\0": (SERVER,)}, lambda origin: [b"\3cat\4test\0"], ask=others.ask)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.run, OnALink())
        see(notifier, tmp_path, 7)
        await trio.sleep(1)
        assert [each.server for each in others.asked] == [SERVER, NS2]
        notifier.lists_of = lambda _origin: []
        see(notifier, tmp_path, 8)
        await trio.sleep(1)
        assert len(others.asked) == 2
        nursery.cancel_scope.cancel()


async def test_it_comes_from_the_address_that_the_other_server_knows(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Of this host's addresses that are the zone's servers', in the other's network first; else the system chooses."""
    others = Servers()
    named = [Peer(text, 53) for text in ("10.71.0.54", "203.0.113.1", "fd71::54", "2001:db8::54")]
    async with notifying(others, *named) as notifier:
        see(notifier, tmp_path, 7)
        await trio.sleep(1)
    chosen = {str(each.server.address): str(each.source) for each in others.asked}
    assert chosen["10.71.0.54"] == chosen["203.0.113.1"] == "10.71.0.2"  # 10.71.0.1 is no server of the zone
    assert chosen["fd71::54"] == chosen["2001:db8::54"] == "fd71::1"
    others = Servers()
    async with notifying(others, SERVER) as notifier:
        see(notifier, tmp_path, 7, ZONE.replace("ns1 A 10.71.0.2\n", ""))
        await trio.sleep(1)
    assert {each.source for each in others.asked if each.server.address.version == 4} == {None}


async def test_who_does_not_answer_is_asked_five_times_and_told_of(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    others = Servers(lambda server: None if server == SERVER else dns.rcode.NOERROR)
    async with notifying(others, SERVER) as notifier:
        see(notifier, tmp_path, 7)
        await trio.sleep(154)
        assert others.times(SERVER) == pytest.approx([0, 5, 15, 35, 75])
        assert caplog.records == []
        await trio.sleep(1000)
        assert len(others.times(SERVER)) == 5
        assert len(others.times(NS2)) == 1
        assert notifier.counts == {"notified": 1, "notify-unanswered": 1}
    (record,) = caplog.records
    assert (record.levelno, "10.71.0.54:5353" in caplog.text) == (logging.WARNING, True)


async def test_a_change_meanwhile_is_what_is_told_from_then_on(autojump_clock: MockClock, tmp_path: Path) -> None:
    others = Servers(lambda server: None)
    async with notifying(others, SERVER) as notifier:
        see(notifier, tmp_path, 7)
        await trio.sleep(6)
        others.asked.clear()
        see(notifier, tmp_path, 8)
        await trio.sleep(300)
        assert {each.serial for each in others.asked} == {8}
        assert others.times(SERVER) == pytest.approx([6, 11, 21, 41, 81])
        assert notifier.counts == {"notify-unanswered": 2}


async def test_a_refusal_ends_it_and_is_told(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    others = Servers(lambda server: dns.rcode.NOTAUTH)
    async with notifying(others) as notifier:
        see(notifier, tmp_path, 7)
        await trio.sleep(300)
        assert others.times(NS2) == [0]
        assert notifier.counts == {"notify-refused": 1}
    assert "NOTAUTH" in caplog.text


async def test_a_serial_that_went_back_is_told(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with notifying(Servers(), SERVER) as notifier:
        for serial in (2**32 - 1, 3):  # serial number arithmetic: this is on
            see(notifier, tmp_path, serial)
            await trio.sleep(1)
        assert caplog.records == []
        see(notifier, tmp_path, 2)
        await trio.sleep(1)
    assert caplog.text.count("serial went back") == 1


async def test_a_server_s_name_in_no_zone_here_is_looked_up(autojump_clock: MockClock, tmp_path: Path) -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: bytes | None, *_args: object, **_more: object) -> list[object]:
            if host != b"ns.elsewhere.invalid.":
                raise socket.gaierror("unknown")
            return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("203.0.113.53", 53))]

        async def getnameinfo(self, *_args: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    others = Servers()
    zone = ZONE + "@ NS ns.elsewhere.invalid.\n@ NS unknown.elsewhere.invalid.\n"
    async with notifying(others) as notifier:
        see(notifier, tmp_path, 7, zone)
        await trio.sleep(1)
    assert [str(each.server) for each in others.asked] == ["198.51.100.53:53", "203.0.113.53:53"]


async def test_after_a_reload_only_what_changed_is_told(autojump_clock: MockClock, tmp_path: Path) -> None:
    file = tmp_path / "a.zone"
    file.write_text(ZONE.format(serial=7))
    options = {"zones": {"example.test": file}, "notify": {"example.test": (str(SERVER),)}}
    before, after = handler_of(tmp_path, **options), handler_of(tmp_path, **options)
    others = Servers()
    for handler in (before, after):
        assert handler._notifier is not None
        handler._notifier.ask = others.ask
    async with trio.open_nursery() as nursery:
        nursery.start_soon(before._notifier.run, OnALink())
        await trio.sleep(1)
        after.succeed(before)
        nursery.start_soon(after._notifier.run, OnALink())
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert len(others.asked) == 2


async def test_over_a_socket_what_is_no_answer_is_not_looked_at(tmp_path: Path) -> None:
    with trio.fail_after(20), trio.socket.socket(type=socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        zone = handler_of(tmp_path, zones={"example.test": write(tmp_path)}).processor.catalog.zones[
            b"\7example\4test\0"
        ]
        assert zone is not None
        message = notify.notification(zone)
        replies = []

        async def ask() -> None:
            server = Peer("127.0.0.1", sock.getsockname()[1])
            replies.append(await notify.ask(message, server, ip_address("127.0.0.2"), 20))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            payload, peer = await sock.recvfrom(65535)
            assert peer[0] == "127.0.0.2"
            wrong = dns.message.make_response(dns.message.from_wire(payload))
            wrong.id ^= 1
            await sock.sendto(b"junk", peer)
            await sock.sendto(wrong.to_wire(), peer)
            wrong.id ^= 1
            await sock.sendto(wrong.to_wire(), peer)
        assert replies[0].id == message.id


def write(folder: Path) -> Path:
    file = folder / "a.zone"
    file.write_text(ZONE.format(serial=7))
    return file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.54", "192.0.2.54:53"),
        ("192.0.2.54:5353", "192.0.2.54:5353"),
        ("2001:db8::54", "[2001:db8::54]:53"),
        ("[2001:db8::54]:5353", "[2001:db8::54]:5353"),
    ],
)
def test_a_server_is_an_address_or_an_address_and_a_port(text: str, expected: str) -> None:
    assert str(server_of(text)) == expected


@pytest.mark.parametrize(
    "text", ["", "ns", "192.0.2.54:", "192.0.2.54:0", "192.0.2.54:65536", "[192.0.2.54]:53", ":53"]
)
def test_a_server_that_is_none_is_a_mistake_of_the_config(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r'notify\."example\.test"\[0\].*expected an address'):
        Dns(zones={"example.test": write(tmp_path)}, notify={"example.test": (text,)}).prepare(Context("dns", tmp_path))


def test_a_zone_that_is_not_served_is_a_mistake_of_the_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r'notify\."other\.test": there is no such zone'):
        Dns(zones={"example.test": write(tmp_path)}, notify={"other.test": ()}).prepare(Context("dns", tmp_path))

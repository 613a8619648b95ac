"""DNS over TLS: pipelining, transfers, padding, and what a peer may do to hold a connection."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsigkeyring
import dns.update
import dns.zone
import pytest
import trio
import trio.testing
from responder_plugins.dns import TransferKey, Update
from responder_plugins.dns.handler import DnsHandler
from trio.testing import MockClock

from responder import Exchange
from tests.plugins.dns.encrypted.support import connection, raw, secured, tls_handler
from tests.plugins.dns.secondary.support import Network
from tests.plugins.dns.support import SMALL, ZONE
from tests.plugins.dns.test_tcp import SECRET, Client


async def test_queries_side_by_side(tmp_path: Path) -> None:
    queries = [dns.message.make_query(f"n{number}.wild.example.test", "A", id=number) for number in range(100)]
    async with secured(tls_handler(tmp_path), "tls", tmp_path) as stream:
        assert stream.selected_alpn_protocol() == "dot"
        client = Client(stream)  # type: ignore[arg-type]  # it needs no send_eof
        await client.send(*queries)
        replies = {(reply := dns.message.from_wire(await client.receive())).id: reply for _ in queries}
    assert all(query.is_response(replies[query.id]) for query in queries)


async def test_a_name_of_no_zone_is_refused_since_no_other_instance_can_read_it(tmp_path: Path) -> None:
    async with secured(tls_handler(tmp_path), "tls", tmp_path) as stream:
        client = Client(stream)  # type: ignore[arg-type]  # as above
        await client.send(dns.message.make_query("elsewhere.test", "A"))
        assert dns.message.from_wire(await client.receive()).rcode() == dns.rcode.REFUSED


async def test_updates(tmp_path: Path) -> None:
    """As by TCP (RFC 7858 section 3.3 has any message within)."""
    keyring = dns.tsigkeyring.from_text({"key.test": SECRET})
    handler = tls_handler(
        tmp_path,
        state=tmp_path / "state",
        transfer_keys={"key.test": TransferKey(SECRET)},
        update={"example.test": Update(keys=("key.test",))},
    )
    async with secured(handler, "tls", tmp_path) as stream:
        client = Client(stream)  # type: ignore[arg-type]  # as above
        for signed, rcode in ((None, dns.rcode.REFUSED), (keyring, dns.rcode.NOERROR)):
            update = dns.update.UpdateMessage("example.test", keyring=signed)
            update.add("new", 60, "A", "192.0.2.1")
            await client.send(update)
            reply = dns.message.from_wire(await client.receive(), keyring=keyring, request_mac=update.mac)
            assert reply.rcode() == rcode
        await client.send(dns.message.make_query("new.example.test", "A"))
        (rrset,) = dns.message.from_wire(await client.receive()).answer
        assert rrset[0].address == "192.0.2.1"


@pytest.mark.parametrize(
    ("newest", "rcode"), [(ssl.TLSVersion.TLSv1_3, dns.rcode.NOERROR), (ssl.TLSVersion.TLSv1_2, dns.rcode.REFUSED)]
)
async def test_zones_are_handed_over_by_tls_13(tmp_path: Path, newest: ssl.TLSVersion, rcode: dns.rcode.Rcode) -> None:
    handler = tls_handler(tmp_path, allow_transfer=["10.71.0.9/32"])
    async with secured(handler, "tls", tmp_path, newest=newest) as stream:
        client = Client(stream)  # type: ignore[arg-type]  # as above
        await client.send(dns.message.make_query("example.test", "AXFR"))
        reply = dns.message.from_wire(await client.receive(), xfr=True, one_rr_per_rrset=True)
        assert reply.rcode() == rcode
        if rcode == dns.rcode.NOERROR:
            expected = dns.zone.from_file(str(ZONE), "example.test", relativize=False)
            soa = expected.get_soa()
            assert reply.answer[0][0] == soa


async def test_padded_where_it_is_asked_for(tmp_path: Path) -> None:
    handler = tls_handler(tmp_path)
    padding = dns.edns.GenericOption(dns.edns.OptionType.PADDING, bytes(20))
    for name in ("www.example.test", "nothing.example.test", "n1.wild.example.test"):
        asked = dns.message.make_query(name, "A", use_edns=0, options=[padding])
        plain = dns.message.make_query(name, "A", use_edns=0)
        async with secured(handler, "tls", tmp_path) as stream:
            client = Client(stream)  # type: ignore[arg-type]  # as above
            await client.send(asked)
            answer = await client.receive()
            assert len(answer) % 468 == 0
            assert dns.message.from_wire(answer).rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
            await client.send(plain)
            assert len(await client.receive()) % 468
        # Not where everyone can read the rest.
        async with raw(handler, "default") as stream:
            client = Client(stream)
            await client.send(asked)
            assert len(await client.receive()) % 468


async def test_how_long_a_connection_may_idle_is_told_as_by_tcp(tmp_path: Path) -> None:
    keepalive = dns.edns.GenericOption(dns.edns.OptionType(11), b"")
    async with secured(tls_handler(tmp_path), "tls", tmp_path) as stream:
        client = Client(stream)  # type: ignore[arg-type]  # as above
        await client.send(dns.message.make_query("www.example.test", "A", use_edns=0, options=[keepalive]))
        (option,) = dns.message.from_wire(await client.receive()).options
        assert option == dns.edns.GenericOption(dns.edns.OptionType(11), (100).to_bytes(2))


PADDING = dns.edns.GenericOption(dns.edns.OptionType.PADDING, b"")


@pytest.mark.parametrize("kind", ["AXFR", "IXFR"])
@pytest.mark.parametrize(
    ("service", "edns", "is_padded"),
    [
        ("tls", {"use_edns": 0, "options": [PADDING]}, True),
        ("tls", {"use_edns": 0}, False),
        ("tls", {}, False),
        ("default", {"use_edns": 0, "options": [PADDING]}, False),
    ],
    ids=["asked for", "not asked for", "no EDNS", "not encrypted"],
)
async def test_each_message_of_a_transfer_is_padded_where_it_is_asked_for(
    tmp_path: Path, kind: str, service: str, edns: dict[str, Any], is_padded: bool
) -> None:
    """And has an OPT record where the query has one (RFC 9103 section 7.9)."""
    (tmp_path / "a.zone").write_text(SMALL + "".join(f"host{number} A 192.0.2.1\n" for number in range(3000)))
    handler = tls_handler(tmp_path, zones={"example.test": Path("a.zone")}, allow_transfer=["10.71.0.9/32"])
    query = dns.message.make_query("example.test", kind, **edns)
    if kind == "IXFR":
        query.authority.append(dns.rrset.from_text("example.test.", 1, "IN", "SOA", ". . 0 1 2 3 4"))
    opened = secured(handler, "tls", tmp_path) if service == "tls" else raw(handler, service)
    messages: list[bytes] = []
    count = 0
    async with opened as stream:
        client = Client(stream)  # type: ignore[arg-type]  # as above
        await client.send(query)
        while count < 3005:
            messages.append(await client.receive())
            message = dns.message.from_wire(messages[-1], xfr=True, one_rr_per_rrset=True)
            assert (message.edns == 0) == bool(edns)
            count += len(message.answer)
    assert count == 3005
    assert len(messages) > 3
    assert all(len(message) % 468 == 0 for message in messages) == is_padded


async def test_an_answer_without_room_for_padding_is_not_padded(tmp_path: Path) -> None:
    """One RRset of as many bytes as a zone may have it: the message ends before the next multiple of 468."""
    long = "".join(f'long TXT "{number:03}{"x" * 240}"\n' for number in range(253))
    (tmp_path / "a.zone").write_text(SMALL + long)
    handler = tls_handler(tmp_path, zones={"example.test": Path("a.zone")})
    async with secured(handler, "tls", tmp_path) as stream:
        client = Client(stream)  # type: ignore[arg-type]  # as above
        await client.send(dns.message.make_query("long.example.test", "TXT", use_edns=0, options=[PADDING]))
        answer = await client.receive()
    assert len(answer) <= 65535
    assert len(dns.message.from_wire(answer).answer[0]) == 253


EMPTY_HELLO = b"\x16\3\1\0\4\1\0\0\0"


class TestAlerts:
    """RFC 8446 section 6.2."""

    async def test_a_client_is_told_that_there_is_no_cipher_in_common(self, tmp_path: Path) -> None:
        handler = tls_handler(tmp_path)
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-SHA")
        async with raw(handler, "tls") as transport:
            stream = trio.SSLStream(transport, context, server_hostname="ns.example.test")
            with pytest.raises(trio.BrokenResourceError) as caught:
                await stream.do_handshake()
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        assert caught.value.__cause__.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"
        assert handler.counts()["tls-failed"] == 1

    @pytest.mark.parametrize("service", ["tls", "https"])
    async def test_a_hello_that_is_none_gets_an_alert_and_an_end(self, tmp_path: Path, service: str) -> None:
        async with raw(tls_handler(tmp_path), service) as transport:
            await transport.send_all(EMPTY_HELLO)
            said = b""
            while more := await transport.receive_some():
                said += more
        assert (said[:1], said[3:6], len(said)) == (b"\x15", b"\0\2\2", 7)  # fatal (RFC 8446 appendix B.2)

    async def test_a_record_that_was_changed_on_its_way(self, tmp_path: Path) -> None:
        """After the handshake too."""
        handler = tls_handler(tmp_path)
        async with secured(handler, "tls", tmp_path) as stream:
            client = Client(stream)  # type: ignore[arg-type]  # as above
            await client.send(dns.message.make_query("www.example.test", "A"))
            assert await client.receive()
            await stream.transport_stream.send_all(b"\x17\3\3\0\x20" + bytes(32))
            with pytest.raises(trio.BrokenResourceError) as caught:
                await stream.receive_some()
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        assert caught.value.__cause__.reason == "SSLV3_ALERT_BAD_RECORD_MAC"


class TestWhatHoldsAConnection:
    """Each ends within the idle time, is counted, and nobody else notices."""

    async def ends_after(self, handler: DnsHandler, sent: bytes, seconds: float) -> None:
        async with raw(handler, "tls") as stream:
            began = trio.current_time()
            if sent:
                await stream.send_all(sent)
            while await stream.receive_some():
                pass
            assert trio.current_time() - began == pytest.approx(seconds, abs=0.001)

    async def test_a_handshake_that_never_begins(self, tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
        handler = tls_handler(tmp_path, idle_timeout=7.0)
        await self.ends_after(handler, b"", 7)
        assert handler.counts()["tls-unfinished"] == 1

    async def test_a_handshake_that_never_ends(self, tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
        handler = tls_handler(tmp_path)
        await self.ends_after(handler, b"\x16\x03\x01\x02\x00\x01\x00", 10)
        assert handler.counts()["tls-unfinished"] == 1

    @pytest.mark.parametrize("sent", [b"GET / HTTP/1.0\r\n\r\n", bytes(100), b"\x00\x1d" + bytes(29)])
    async def test_garbage(self, tmp_path: Path, autojump_clock: trio.testing.MockClock, sent: bytes) -> None:
        handler = tls_handler(tmp_path)
        await self.ends_after(handler, sent, 0)
        assert handler.counts()["tls-failed"] == 1

    async def test_who_takes_no_alert_holds_it_for_a_second_at_most(
        self, tmp_path: Path, autojump_clock: trio.testing.MockClock
    ) -> None:
        handler = tls_handler(tmp_path)
        ours, theirs = trio.testing.lockstep_stream_pair()
        with trio.fail_after(100):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(handler.converse, connection(theirs, "tls"))
                await ours.send_all(EMPTY_HELLO)
        assert trio.current_time() == pytest.approx(1, abs=0.001)
        assert handler.counts()["tls-failed"] == 1

    async def test_a_client_that_says_nothing_more_gets_a_goodbye(
        self, tmp_path: Path, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with secured(tls_handler(tmp_path), "tls", tmp_path) as stream:
            began = trio.current_time()
            assert await stream.receive_some() == b""  # a close_notify: without one it is an error
            assert trio.current_time() - began == pytest.approx(10, abs=0.001)

    async def test_a_client_that_takes_nothing(self, tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
        handler = tls_handler(tmp_path)
        ours, theirs = trio.testing.lockstep_stream_pair()
        ended = trio.Event()
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        with trio.fail_after(100):
            async with trio.open_nursery() as nursery:

                async def serve() -> None:
                    await handler.converse(connection(theirs, "tls"))
                    ended.set()

                nursery.start_soon(serve)
                stream = trio.SSLStream(ours, context, server_hostname="ns.example.test")
                await stream.do_handshake()
                query = dns.message.make_query("www.example.test", "A").to_wire()
                await stream.send_all(len(query).to_bytes(2) + query)
                began = trio.current_time()
                # Of what it has sent nothing is read: the server gives up, twice the idle time later at most.
                await ended.wait()
                assert trio.current_time() - began <= 21


class Ports(Network):
    """Where each service is."""

    def port(self, service: str = "default") -> int:
        return {"default": 53, "tls": 853, "https": 8443}[service]


async def test_of_what_is_encrypted_it_is_told_by_what_it_came(tmp_path: Path, autojump_clock: MockClock) -> None:
    handler = tls_handler(tmp_path)
    query = dns.message.make_query("www.example.test", "A").to_wire()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handler.run, Ports(None))
        await trio.testing.wait_all_tasks_blocked()
        words = [handler.describe(Exchange("tcp", port, len(query).to_bytes(2) + query)) for port in (53, 853, 8443)]
        nursery.cancel_scope.cancel()
    assert words[0]["name"] == "www.example.test."
    assert words[1:] == [{"over": "tls"}, {"over": "https"}]

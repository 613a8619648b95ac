"""Instances on one port: a name that is in no zone of one is the next one's, and REFUSED by the last; by TCP too."""

from __future__ import annotations

from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
import trio
from trio.testing import MockClock

from responder import PASS
from responder.testing import FakeNetwork, instances
from responder.testing.bench import CLIENT, SERVER
from tests.plugins.dns.support import SMALL, handler_of, request, texts

CONFIG = """
[plugins.first]
use = "dns"
zones = { "one.test" = "a.zone" }
here = ["router.lan"]
allow_transfer = ["192.0.2.0/24"]
RATE

[plugins.second]
use = "dns"
zones = { "two.test" = "a.zone" }
allow_transfer = ["192.0.2.0/24"]
version = "2"
"""

ASKED = [
    ("www.one.test", "A", "IN", "NOERROR"),
    ("no.one.test", "A", "IN", "NXDOMAIN"),
    ("www.two.test", "A", "IN", "NOERROR"),
    ("no.two.test", "MX", "IN", "NXDOMAIN"),
    ("www.three.test", "A", "IN", "REFUSED"),
    ("router.lan", "A", "IN", "NOERROR"),
    ("x.router.lan", "A", "IN", "REFUSED"),
    ("version.bind", "TXT", "CH", "NOERROR"),
]


@pytest.mark.parametrize("rate", ["", "rate_limit = 100"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_views_fall_through(autojump_clock: MockClock, tmp_path: Path, transport: str, rate: str) -> None:
    (tmp_path / "a.zone").write_text(SMALL)
    network = FakeNetwork()
    link = network.link("eth0")
    host, other = network.host("server"), network.host("client")
    host.attach(link, *SERVER)
    other.attach(link, *CLIENT)
    async with host.serve(*instances(CONFIG.replace("RATE", rate), folder=tmp_path), state=tmp_path) as server:
        client = other.client()
        for name, kind, rdclass, rcode in ASKED:
            query = dns.message.make_query(name, kind, rdclass)
            for _ in range(3):
                if transport == "udp":
                    wire = (await client.ask(query.to_wire(), "192.0.2.1", server.port(instance="first"))).payload
                else:
                    stream = await other.connect("192.0.2.1", server.port(instance="first"))
                    data = query.to_wire()
                    # A query in two pieces, and another one behind it.
                    await stream.send_all(len(data).to_bytes(2) + data[:5])
                    await trio.sleep(0.1)
                    await stream.send_all(data[5:] + len(data).to_bytes(2) + data)
                    await stream.send_eof()
                    held = b"".join([bytes(part) async for part in stream])
                    wire = held[2 : 2 + int.from_bytes(held[:2])]
                    assert len(held) == 2 * (len(wire) + 2)
                reply = dns.message.from_wire(wire)
                assert dns.rcode.to_text(reply.rcode()) == rcode, name


def test_what_is_passed_on_is_not_counted() -> None:
    handler = handler_of()
    outside = dns.message.make_query("elsewhere.invalid", "A").to_wire()
    for _ in range(4):
        assert handler.respond(request(outside)) is PASS
    assert handler.counts() == {}
    assert isinstance(handler.respond_last(request(outside)), bytes)
    assert handler.counts() == {"refused": 1}


async def test_a_transfer_falls_through_too(autojump_clock: MockClock, tmp_path: Path) -> None:
    (tmp_path / "a.zone").write_text(SMALL)
    network = FakeNetwork()
    link = network.link("eth0")
    host, other = network.host("server"), network.host("client")
    host.attach(link, *SERVER)
    other.attach(link, *CLIENT)
    async with host.serve(*instances(CONFIG.replace("RATE", ""), folder=tmp_path), state=tmp_path) as server:
        for zone, found in (("one.test", True), ("two.test", True), ("three.test", False)):
            stream = await other.connect("192.0.2.1", server.port(instance="first"))
            data = dns.message.make_query(zone, "AXFR").to_wire()
            await stream.send_all(len(data).to_bytes(2) + data)
            await stream.send_eof()
            held = b"".join([bytes(part) async for part in stream])
            reply = dns.message.from_wire(held[2:], xfr=True, one_rr_per_rrset=True)
            assert (reply.rcode() == dns.rcode.NOERROR) is found
            assert any(f"www.{zone}. 300 A" in line for line in texts(reply.answer)) is found

"""HTTP that plugins serve: who holds connections open keeps nobody out."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import pytest
import trio
import trio.testing
from responder_plugins.shared import http
from responder_plugins.ssdp import Ssdp
from responder_plugins.wsd import Wsd
from trio.testing import MockClock

from responder import Plugin
from responder.testing import bench, settled
from tests.plugins.ssdp.support import LAMP

REQUEST = b"GET /nothing HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"


@pytest.mark.parametrize(
    ("plugin", "service"), [(Ssdp(devices=(LAMP,)), "device"), (Wsd(name="lamp"), "metadata")], ids=["ssdp", "wsd"]
)
async def test_beyond_the_bound_the_longest_idle_of_who_holds_most_ends(
    autojump_clock: MockClock, tmp_path: Path, plugin: Plugin, service: str
) -> None:
    async with bench(plugin, state=tmp_path) as at:
        silent = []
        for _ in range(150):
            silent.append(await at.connect(service=service))
            await trio.sleep(0.001)
        other = at.network.host("other")
        other.attach(at.link, "192.0.2.77/24")
        for host in (other, at.client.host):
            stream = await host.connect(str(at.address), at.server.port(service=service))
            await settled()
            await stream.send_all(REQUEST)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 4")
        assert at.outcomes()["busy"] == 52
        assert await silent[0].receive_some() == b""


LONG = b"a" * 2**18
REFUSED = [
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(LONG), b"413 "),
    (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(LONG), b"405 "),
    (b"POST / HTTP/1.1\r\nHost: a\r\nCookie: ", b"431 "),
]


@pytest.mark.parametrize(("head", "status"), REFUSED)
@pytest.mark.parametrize("ends", [True, False])
async def test_who_still_sends_gets_its_answer(
    autojump_clock: MockClock, head: bytes, status: bytes, ends: bool
) -> None:
    """What it sends is read for a second more, so that no system resets the connection (RFC 9112 section 9.6)."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    got = bytearray()

    async def send() -> None:
        await ours.send_all(head + LONG)
        if ends:
            await ours.send_eof()

    async def receive() -> None:
        async for data in ours:
            got.extend(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        nursery.start_soon(receive)
        await http.serve(theirs, lambda _request: HTTPStatus.OK, server="test", methods=("GET", "POST"))
        assert trio.current_time() == (0 if ends else http.LINGER)
        await theirs.aclose()
    assert got.startswith(b"HTTP/1.1 " + status)

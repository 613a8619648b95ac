"""The page in a real browser, of a real server on this machine's loopback interface."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from responder_plugins.whoami import Whoami

from responder import net
from responder.config.daemon_options import DaemonOptions
from responder.config.endpoint import Endpoint
from responder.config.instance import Instance, prepare_all
from responder.config.reading import Config
from responder.daemon.exporter import open_exporter, serve_exporter
from responder.daemon.member import LocalMember
from responder.daemon.page import Page
from responder.daemon.status import About, take
from responder.log import get_logger
from responder.server.server import open_server

from . import chromium

pytestmark = pytest.mark.clients("chromium")

ATTACK = b"<img src=x onerror=\"document.title='taken'\">\x1b[31m"
"""As a label of a DNS name, and as an error's words."""


def query(label: bytes) -> bytes:
    """A DNS query for LABEL.whoami.test. TXT (RFC 1035 section 4.1)."""
    name = b"".join(bytes([len(each)]) + each for each in (label, b"whoami", b"test", b""))
    return bytes.fromhex("4711 0100 0001 0000 0000 0000") + name + bytes.fromhex("0010 0001")


@attrs.define
class Served:
    """A page, and the UDP port of what it is about; `looks` counts how often it was made."""

    member: LocalMember
    url: str = ""
    port: int = 0
    looks: int = 0

    async def recent(self) -> list[dict[str, Any]]:
        found = self.member.recent()
        self.looks += 1
        await self.ask(b"look%d" % self.looks)  # for the next one to see
        return found

    async def ask(self, label: bytes) -> None:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, trio.fail_after(30):
            await client.connect(("127.0.0.1", self.port))
            await client.send(query(label))
            await client.recv(1000)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    instance = Instance.of(Whoami(), "whoami", port=0, listen=["127.0.0.1"])
    platform, about = net.platform(), About()
    async with open_server(await prepare_all([instance]), platform=platform, timing=True) as server:
        member = LocalMember(Config(DaemonOptions(), (instance,)), server, about)
        listener = open_exporter(platform, Endpoint.parse("localhost:0"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            served = Served(member)
            nursery.start_soon(serve_exporter, listener, lambda: take(server, about), (), Page(served.recent))
            await server.ready.wait()
            served.url, served.port = f"http://127.0.0.1:{listener.port}/", server.port()
            yield served
            server.stop()
            nursery.cancel_scope.cancel()


def text(document: str) -> str:
    """The words of a document's body, without its tags."""
    body = document.partition("<body>")[2]
    pieces = [piece.partition(">")[2] for piece in body.split("<")]
    return " ".join(unescape(" ".join(pieces)).split())


async def test_it_lives_with_script(served: Served, tmp_path: Path) -> None:
    document = await chromium.document(tmp_path / "profile", served.url, after=3500)
    seen = text(document)
    assert "State ready" in seen
    assert "whoami Whoami ready" in seen
    # The page itself was the first look.
    assert served.looks >= 3
    assert "name=look1.whoami.test. type=TXT rcode=NOERROR" in seen
    assert "name=look2.whoami.test. type=TXT rcode=NOERROR" in seen
    assert 'id="hold" type="button" aria-pressed="false">Hold' in document


async def test_it_works_without_script(served: Served, tmp_path: Path) -> None:
    document = await chromium.document(tmp_path / "first", served.url, script=False)
    seen = text(document)
    assert served.looks == 1
    assert "State ready" in seen
    assert "Seen since the start" in seen
    assert "Hold this view" in seen
    assert "None was seen yet" in seen
    assert 'hidden=""' in document.partition('id="hold"')[2].partition(">")[0]
    document = await chromium.document(tmp_path / "second", f"{served.url}?hold", script=False)
    assert served.looks == 2
    assert "name=look1.whoami.test. type=TXT rcode=NOERROR" in text(document)
    assert 'http-equiv="refresh"' not in document


@pytest.mark.parametrize(("script", "after"), [(True, 3000), (False, 0)])
async def test_what_peers_say_is_text(served: Served, tmp_path: Path, script: bool, after: int) -> None:
    served.member.recent()
    await served.ask(ATTACK)
    get_logger(__name__).error("a plugin failed", reason=ATTACK.decode())
    document = await chromium.document(tmp_path / "second", served.url, script=script, after=after)
    assert "<title>responderd on " in document
    assert "taken" in text(document)
    assert "<img" not in document
    assert "\x1b" not in document


async def test_it_is_seen(served: Served, tmp_path: Path) -> None:
    await served.ask(b"a")
    light = await chromium.picture(tmp_path / "light", served.url, tmp_path / "light.png", after=2000)
    dark = await chromium.picture(
        tmp_path / "dark",
        served.url,
        tmp_path / "dark.png",
        "--force-dark-mode",
        "--blink-settings=preferredColorScheme=0",
        after=2000,
    )
    for found, ground, letters, accent in (
        (light, "fbfbf9", "1d2321", "1b6e5c"),
        (dark, "151918", "e3e8e6", "62c7ae"),
    ):
        assert found.most_common(1)[0][0] == bytes.fromhex(ground)
        for colour, least in ((letters, 500), (accent, 20)):
            assert found[bytes.fromhex(colour)] >= least, colour

"""What devices hear that ask for their settings, and that wait to be told of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio
from hypothesis import given
from responder import ConfigErrors, Datagram, Interface, Peer, PeerError
from responder.testing import FakeConversation, FakeNetwork, amplifies_at_most, bench, hostile, never_answers, options
from trio.testing import MockClock

from responder_settings import GROUP, PIECE, Settings, SettingsHandler

LAMP = b"color = red\n" * 200


@pytest.fixture
def plugin(tmp_path: Path) -> Settings:
    (tmp_path / "lamp").write_bytes(LAMP)
    (tmp_path / "door").write_bytes(b"")
    return Settings({name: tmp_path / name for name in ("lamp", "door")})


async def fetch(conversation: FakeConversation) -> bytes:
    """The settings as a device puts them together."""
    data, heard = b"", conversation.first
    while True:
        head, _, piece = heard.payload.partition(b" ")
        number, count = map(int, head.split(b"/"))
        data += piece
        if number == count:
            await conversation.send(b"OK %d" % number)
            return data
        heard = await conversation.ask(b"OK %d" % number)


async def test_a_device_gets_its_settings(plugin: Settings, autojump_clock: MockClock) -> None:
    async with bench(plugin) as at:
        conversation = await at.begin(b"GET lamp", "192.0.2.2")
        assert conversation.peer.port != 7070
        assert str(conversation.peer.address) == "192.0.2.2", "the address that was asked"
        assert await fetch(conversation) == LAMP
        assert await fetch(await at.begin(b"GET door")) == b""
        assert (await at.ask(b"GET window")).payload == b"NO"


async def test_what_is_lost_comes_again(plugin: Settings, autojump_clock: MockClock) -> None:
    async with bench(plugin) as at:
        conversation = await at.begin(b"GET lamp")
        again = await conversation.receive()
        assert (again.payload, again.time - conversation.first.time) == (conversation.first.payload, 1)
        second = await conversation.ask(b"OK 1")
        assert second.payload == b"2/3 " + LAMP[PIECE : 2 * PIECE]
        await conversation.send(b"OK 1")  # again, as a network may have it: nothing is sent twice for that
        assert (await conversation.receive()).time - second.time == 1
        assert [each.time - second.time for each in await at.collect(100)] == [3]


async def test_a_device_that_says_nothing_is_given_up(plugin: Settings, autojump_clock: MockClock) -> None:
    async with bench(plugin) as at:
        heard = await at.exchange(b"GET lamp", within=100)
        assert [each.time for each in heard] == [0, 1, 3]


async def test_it_amplifies_no_more_than_its_readme_says(plugin: Settings, autojump_clock: MockClock) -> None:
    async with bench(plugin) as at:
        assert await amplifies_at_most(at, 390, b"GET lamp", within=100) == 3 * (4 + PIECE) / 8
        await never_answers(at, b"", b"GET", b"GET Lamp", b"OK 1", b"SETTINGS 00", within=100)


@given(hostile(b"GET lamp", b"OK 1"))
def test_whatever_comes(payload: bytes) -> None:
    request = Datagram(payload, Peer("192.0.2.9", 40000), "192.0.2.1", Interface(2, "eth0"))
    try:
        assert SettingsHandler({}, 60).respond(request) == b"NO"
    except PeerError:
        assert not re.fullmatch(rb"GET [a-z]{1,9}", payload)


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigErrors, match="announce: expected a second or more"):
        options(Settings, announce="0.5s")


async def test_a_file_that_is_not_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"files.lamp: .*No such file"):
        async with bench(Settings({"lamp": tmp_path / "missing"})):
            pass


async def test_announcements(
    plugin: Settings, tmp_path: Path, fake_network: FakeNetwork, autojump_clock: MockClock
) -> None:
    link = fake_network.link("lan")
    server, device = fake_network.host("server"), fake_network.host("device")
    server.attach(link, "192.0.2.1/24")
    interface = device.attach(link, "192.0.2.9/24")
    client = device.client(port=7070)
    client.join(GROUP, interface)
    async with server.serve(plugin):
        await trio.sleep(150)
        heard = client.heard()
        assert [each.time for each in heard] == [0, 60, 120]
        assert len({each.payload for each in heard}) == 1
    (tmp_path / "lamp").write_bytes(b"color = blue\n")
    async with server.serve(plugin):
        await trio.sleep(1)
        (changed,) = client.heard()
        assert changed.payload.startswith(b"SETTINGS ")
        assert changed.payload != heard[0].payload

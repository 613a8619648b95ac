"""A plugin's words: asked for once, bounded, escaped; and what a plugin does wrong is its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from responder import Answer, Datagram, Exchange, PeerError, Plugin, Service
from responder.config.instance import Instance, prepare
from responder.daemon.words import MAX_WORD, MAX_WORDS, Vocabulary, Words
from responder.dispatch.observers import Observation
from responder.server.embedding import serving
from responder.testing import FakeNetwork, bench


def wordy(say: Callable[[Exchange], Any]) -> Plugin:
    """A plugin whose words are what the test says."""

    @attrs.frozen
    class Wordy(Plugin):
        services: ClassVar = (Service(port=7007),)

        def respond(self, request: Datagram) -> Answer:
            return request.payload.upper()

        def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
            return say(exchange)  # type: ignore[no-any-return] # the test's own

    return Wordy()


async def told(say: Callable[[Exchange], Any], payload: bytes = b"hi") -> tuple[list[Words], list[Exchange]]:
    """The words for one datagram, by two who watch, and what the plugin was asked."""
    asked: list[Exchange] = []

    def noting(exchange: Exchange) -> Any:
        asked.append(exchange)
        return say(exchange)

    words: list[Words] = []
    network = FakeNetwork()
    link = network.link("eth0")
    host, other = network.host("server"), network.host("client")
    host.attach(link, "192.0.2.1/24")
    other.attach(link, "192.0.2.7/24")
    prepared = [prepare(Instance.of(wordy(noting)), Path.cwd())]
    # Without the kit's own watcher, which asks for words as well.
    async with serving(prepared, platform=host, grace=2.0, settle=0.0, state=None) as server:
        vocabulary = Vocabulary(server._core)
        for _ in range(2):
            server._core.observers.add(lambda seen: words.append(vocabulary.words(seen)))
        await other.client().ask(payload, to="192.0.2.1", port=7007)
    return words, asked


async def test_the_plugin_is_asked_once_and_its_words_are_text() -> None:
    words, asked = await told(lambda _: {"name": "a.example.", "size": 7})
    assert words == [{"name": "a.example.", "size": "7"}] * 2
    assert asked == [Exchange("udp", 7007, b"hi", (b"HI",))]


async def test_what_a_peer_sent_is_escaped_and_cut() -> None:
    (words, _), _ = await told(
        lambda exchange: {"said": exchange.request.decode("latin-1")}, b"\x1b[2J\n\x9b" + b"x" * 999
    )
    assert words["said"].startswith("\\x1b[2J\\n\\x9bx")
    assert words["said"].isprintable()
    assert len(words["said"]) <= MAX_WORD + len("\\x1b\\n\\x9b")


def bad_bytes(_exchange: Exchange) -> None:
    raise PeerError("no such message")


async def test_nothing_is_said_of_bytes_that_are_no_message(caplog: pytest.LogCaptureFixture) -> None:
    words, _ = await told(bad_bytes)
    assert words == [{}, {}]
    assert caplog.messages == []


def broken(_exchange: Exchange) -> None:
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("say", "message"),
    [
        (broken, "broken"),
        (lambda _: None, "NoneType, which is no mapping"),
        (lambda _: {f"{chr(97 + number)}": "" for number in range(MAX_WORDS + 1)}, "9 words; 8 are the most"),
        (lambda _: {"Na me": ""}, "'Na me'"),
        (lambda _: {"name": b"raw"}, "returned for name what is neither text nor an integer"),
    ],
)
async def test_what_goes_wrong_is_logged_once(
    say: Callable[[Exchange], Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    words, _ = await told(say)
    assert words == [{}, {}]
    (record,) = caplog.records
    assert record.getMessage() == "describe failed plugin=wordy"
    assert record.exc_info is not None
    assert message in str(record.exc_info[1])


async def test_of_what_nobody_took_there_are_no_words() -> None:
    seen: list[Observation] = []
    async with bench(wordy(lambda _: {"never": "asked"}), deny=["0.0.0.0/0"]) as at:
        at.server._core.observers.add(seen.append)
        await at.exchange(b"hi")
        vocabulary = Vocabulary(at.server._core)
        assert [vocabulary.words(attrs.evolve(each, instance="-")) for each in seen] == [{}]
        assert [vocabulary.words(each) for each in seen] == [{"never": "asked"}]

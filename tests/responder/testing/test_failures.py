"""A test does not pass over what a plugin raises, nor over a plugin that a daemon would not load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from responder import Answer, Connection, Datagram, Exchange, Network, PeerError, Plugin, PluginError, Service
from responder.testing import FakeNetwork, bench, exchange, never_answers


@attrs.frozen
class Fails(Plugin):
    """Fails where it is told to."""

    where: str = "respond"

    services: ClassVar = (Service(port=7007, tcp=True),)

    def respond(self, request: Datagram) -> Answer:
        if request.payload == b"bad":
            raise PeerError("bad")
        if self.where == "respond":
            raise LookupError("respond")
        if self.where == "answer":
            return 7  # type: ignore[return-value] # no answer
        return self._later(request) if self.where in ("later", "scope") else request.payload

    async def _later(self, request: Datagram) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.where == "scope":
            trio.CancelScope().__enter__()
            return request.payload
        raise LookupError("later")

    async def converse(self, connection: Connection) -> None:
        raise LookupError("converse")

    async def run(self, network: Network) -> None:
        await trio.lowlevel.checkpoint()
        if self.where == "run":
            raise LookupError("run")
        if self.where == "goodbye":
            await network.stopping.wait()
            raise LookupError("goodbye")


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("respond", LookupError),
        ("later", LookupError),
        ("answer", PluginError),
        ("scope", PluginError),
        ("run", LookupError),
        ("goodbye", LookupError),
    ],
)
async def test_what_a_plugin_raises_is_raised(where: str, kind: type[Exception], autojump_clock: MockClock) -> None:
    with pytest.raises(kind):
        await exchange(Fails(where), b"hi")
    failures: list[BaseException] = []
    await exchange(Fails(where), b"hi", failures=failures)
    assert [type(failure) for failure in failures] == [kind]


WORDS: dict[str, object] = {
    "raises": LookupError("words"),
    "list": ["no mapping"],
    "name": {"Name": "x"},
    "right": {"name": "x", "size": 7},
}
COUNTS: dict[str, object] = {
    "kind": {"Kind!": 1},
    "number": {"kind": -1},
    "right": {"a-kind": 2**64 - 1},
}


@attrs.frozen
class Tells(Plugin):
    """Has words of `WORDS`, counts of `COUNTS` and one note; by default none."""

    words: str = ""
    counted: str = ""
    noted: str | int = ""

    services: ClassVar = (Service(port=7007),)

    def respond(self, request: Datagram) -> Answer:
        return request.payload

    def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
        found: Any = WORDS.get(self.words, PeerError("nothing to say"))
        if isinstance(found, Exception):
            raise found
        return found

    def counts(self) -> Mapping[str, int]:
        found: Any = COUNTS.get(self.counted, {})
        return found

    def notes(self) -> Iterable[str]:
        found: Any = [self.noted]
        return found


@pytest.mark.parametrize(
    ("plugin", "kind", "message"),
    [
        (Tells(words="raises"), LookupError, "words"),
        (Tells(words="list"), PluginError, "describe returned list"),
        (Tells(words="name"), PluginError, "a name that is not 1 to 32"),
        (Tells(counted="kind"), PluginError, "a kind that is not 1 to 64"),
        (Tells(counted="number"), PluginError, "no integer from 0"),
        (Tells(noted=7), PluginError, "notes returned int where a string belongs"),
    ],
)
async def test_what_those_who_watch_are_told_is_tried_too(
    plugin: Plugin, kind: type[Exception], message: str, autojump_clock: MockClock
) -> None:
    with pytest.raises(kind, match=message):
        await exchange(plugin, b"hi")
    failures: list[BaseException] = []
    (heard,) = await exchange(plugin, b"hi", failures=failures)
    assert heard.payload == b"hi"
    assert [type(failure) for failure in failures] == [kind]


async def test_what_it_tells_is_no_failure(autojump_clock: MockClock) -> None:
    assert len(await exchange(Tells(), b"hi")) == 1
    assert len(await exchange(Tells(words="right", counted="right"), b"hi")) == 1


async def test_it_is_raised_where_it_costs_an_answer(autojump_clock: MockClock) -> None:
    async with bench(Fails("respond")) as at:
        with pytest.raises(LookupError, match="respond"):
            await at.exchange(b"hi")
        with pytest.raises(LookupError, match="respond"):
            await at.ask(b"hi")
        with pytest.raises(LookupError, match="respond"):
            await never_answers(at, b"hi")
        # Told once each: the bench ends without.


async def test_a_connection_that_fails_is_told() -> None:
    async with bench(Fails("nowhere")) as at:
        stream = await at.connect()
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
        with pytest.raises(LookupError, match="converse"):
            await at.collect()


async def test_what_a_peer_does_is_no_failure() -> None:
    async with bench(Fails("nowhere")) as at:
        assert await at.exchange(b"bad") == []
        assert len(await at.exchange(b"good")) == 1


async def test_several_are_told_together() -> None:
    async with bench(Fails("respond")) as at:
        at.spoof(b"a", "192.0.2.8")
        at.spoof(b"b", "192.0.2.8")
        with pytest.raises(BaseExceptionGroup) as caught:
            await at.collect()
    assert len(caught.value.exceptions) == 2


async def test_a_failure_says_more_than_what_a_test_then_misses() -> None:
    with pytest.raises(LookupError, match="run") as caught:
        async with bench(Fails("run")):
            raise AssertionError("nothing was sent")
    assert isinstance(caught.value.__context__, AssertionError)


async def test_a_server_of_a_host_tells_too_and_another_server_does_not() -> None:
    network = FakeNetwork()
    one, other = network.host("one"), network.host("other")
    async with other.serve(Fails("nowhere")):
        with pytest.raises(LookupError, match="run"):
            async with one.serve(Fails("run")):
                await trio.testing.wait_all_tasks_blocked()


class NoAttrs(Plugin):
    services: ClassVar = (Service(port=7007),)

    def respond(self, request: Datagram) -> Answer:
        return request.payload


@attrs.frozen
class NoComma(Plugin):
    services: ClassVar = Service(port=7007)  # type: ignore[assignment] # the mistake

    def respond(self, request: Datagram) -> Answer:
        return request.payload


@attrs.frozen
class Idle(Plugin):
    services: ClassVar = (Service(port=7007),)


@pytest.mark.parametrize(
    ("plugin", "rule"), [(NoAttrs(), "attrs.frozen"), (NoComma(), "with the comma"), (Idle(), "do nothing")]
)
async def test_a_plugin_that_no_daemon_loads_is_refused(plugin: Plugin, rule: str) -> None:
    with pytest.raises(PluginError, match=rule):
        await exchange(plugin, b"hi")

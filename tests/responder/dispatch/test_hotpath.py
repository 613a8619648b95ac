"""The usual case of a datagram, compiled and in Python: both do the same, and neither leaves anything behind."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from copy import copy
from functools import cache
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from responder import PASS, Answer, Datagram, Reply
from responder.config.instance import Instance
from responder.dispatch import port as port_module
from responder.dispatch.flow import Binding, Flow, Taker
from responder.dispatch.outcomes import Histogram
from responder.errors import PeerError
from responder.net.types import Path, Received
from tests.fakes import FakePlatform, FakeReceived, path

from .bench import Bench, Probe, bench

if port_module._compiled() is None:
    pytest.skip("the compiled modules were not built, or are switched off", allow_module_level=True)

from responder.dispatch import _hotpath


@pytest.fixture(params=["compiled", "python"])
def hot(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "python":
        monkeypatch.setattr(port_module, "_hot", None)
    return str(request.param)


def respond(request: Datagram) -> Answer:
    """What the payload says: each kind of answer there is."""
    match request.payload:
        case b"none":
            return None
        case b"pass":
            return PASS
        case b"reply":
            return Reply(b"by a Reply")
        case b"several":
            return [b"one", b"two"]
        case b"long":
            return bytes(2000)
        case b"malformed":
            raise PeerError("nonsense")
        case b"crash":
            raise LookupError("a mistake")
        case b"exit":
            raise SystemExit(3)
        case b"nonsense":
            return 7  # type: ignore[return-value] # what is tested
    return request.payload + b" from " + str(request.peer).encode()


PAYLOADS = (
    b"x",
    b"y",
    b"",
    b"none",
    b"pass",
    b"reply",
    b"several",
    b"long",
    b"malformed",
    b"crash",
    b"exit",
    b"nonsense",
)

requests = st.builds(
    lambda payload, peer, port, truncated: (payload, peer, port, truncated),
    st.sampled_from(PAYLOADS),
    st.sampled_from(["10.71.0.9", "10.71.0.10", "192.0.2.1", "10.71.0.1", "fd71::9", "239.1.1.1"]),
    st.sampled_from([40000, 53, 7007, 0]),
    st.sampled_from([False, False, False, True]),
)


@cache
def way(peer: str) -> Path:
    return path(peer, "fd71::1" if ":" in peer else "10.71.0.2")


def received(payload: bytes, peer: str, port: int, truncated: bool) -> Received:
    return FakeReceived(payload, way(peer), port=port, truncated=truncated)


async def serve(burst: list[tuple[bytes, str, int, bool]]) -> tuple[object, ...]:
    """What is sent for a burst, and all that is counted."""
    first = Instance.of(Probe(respond), "first", max_answer=1000)
    second = Instance.of(Probe(lambda _: b"second"), "second", deny=[])
    async with bench(first, second, platform=FakePlatform()) as it:
        await it.deliver(*(received(*each) for each in burst))
        sent = [
            (message.payload, str(message.route.to), str(message.route.source), message.port)
            for message in it.socket.sent
        ]
        return sent, it.server.counters.snapshot()


@given(st.lists(requests, max_size=40))
def test_both_forms_do_the_same(burst: list[tuple[bytes, str, int, bool]]) -> None:
    assert port_module._hot is not None
    compiled = trio.run(serve, burst)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(port_module, "_hot", None)
        assert trio.run(serve, burst) == compiled


async def test_times_are_counted(hot: str) -> None:
    async with bench(Instance.of(Probe(respond))) as it:
        (binding,) = port_of(it).bindings
        binding.latency = Histogram()
        await it.deliver(
            *(received(payload, "10.71.0.9", 40000, False) for payload in (b"x", b"crash", b"none", b"y") * 10)
        )
        assert sum(binding.latency.counts) == 40
        assert 0 < binding.latency.total < 10
        assert 0 < binding.slowest < 10


async def test_one_that_is_slow_is_the_slowest(hot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("responder.dispatch.flow.HOLD_LIMIT", 0.0)
    async with bench(Instance.of(Probe(respond))) as it:
        (binding,) = port_of(it).bindings
        await it.deliver(received(b"x", "10.71.0.9", 40000, False))
        assert binding.slowest > 0


async def test_an_order_to_end_passes_through(hot: str) -> None:
    def respond(request: Datagram) -> Answer:
        raise KeyboardInterrupt

    async with bench(Instance.of(Probe(respond))) as it:
        burst = [received(b"x", "10.71.0.9", 40000, False)]
        with pytest.raises(KeyboardInterrupt):
            port_of(it)._answers(burst)


async def test_what_is_no_received_datagram_is_refused() -> None:
    async with bench(Instance.of(Probe(respond))) as it:
        with pytest.raises(TypeError, match="Received"):
            port_of(it)._answers([object()])  # type: ignore[list-item] # what is tested


async def test_a_handler_may_spoil_its_request(hot: str) -> None:
    def respond(request: Datagram) -> Answer:
        for name in ("peer_port", "path", "truncated", "origin"):
            delattr(request, name)
        return b"answer"

    async with bench(Instance.of(Probe(respond))) as it:
        await it.deliver(*(received(b"x", "10.71.0.9", 40000, False) for _ in range(3)))
        assert [(message.payload, message.port) for message in it.socket.sent] == [(b"answer", 40000)] * 3


async def test_a_handler_may_have_the_flows_forgotten(hot: str) -> None:
    def respond(request: Datagram) -> Answer:
        port_of(it).forget_flows()
        gc.collect()
        return request.payload

    async with bench(Instance.of(Probe(respond))) as it:
        await it.deliver(*(received(bytes([number]), "10.71.0.9", 40000, False) for number in range(3)))
        assert it.replies() == [b"\0", b"\1", b"\2"]


async def test_a_handler_may_replace_what_its_taker_has(hot: str) -> None:
    async with bench(Instance.of(Probe(lambda _: b"first"))) as it:
        port = port_of(it)
        burst = [received(b"x", "10.71.0.9", 40000, False) for _ in range(3)]
        taker = port.flows.find(burst[0].path).plain
        assert taker is not None
        binding = taker.binding

        def replacing() -> Callable[[Datagram], object]:
            def respond(_: Datagram) -> bytes:
                taker.respond = lambda _: b"later"
                taker.origin = copy(taker.origin)
                del taker.binding
                gc.collect()
                taker.binding = binding
                return b"first"

            return respond

        taker.respond = replacing()
        messages, _ = port._answers(burst)
        assert [message[0] for message in messages] == [b"first", b"later", b"later"]


async def test_a_handler_may_change_the_burst(hot: str) -> None:
    def respond(request: Datagram) -> Answer:
        burst.clear()
        return request.payload

    async with bench(Instance.of(Probe(respond))) as it:
        burst = [received(b"x", "10.71.0.9", 40000, False) for _ in range(3)]
        messages, tallies = port_of(it)._answers(burst)
        assert ([message[0] for message in messages], len(tallies)) == ([b"x"], 1)


async def test_a_handler_may_have_others_answered(hot: str) -> None:
    inner: list[bytes] = []

    def respond(request: Datagram) -> Answer:
        if request.payload == b"outer":
            messages, _ = port_of(it)._answers([received(b"inner", "10.71.0.9", 40000, False)])
            inner.extend(message[0] for message in messages)
        return request.payload

    async with bench(Instance.of(Probe(respond))) as it:
        await it.deliver(received(b"outer", "10.71.0.9", 40000, False))
        assert (inner, it.replies()) == ([b"inner"], [b"outer"])


@pytest.mark.parametrize("name", ["path", "peer_port"])
async def test_a_datagram_that_lacks_something_is_a_mistake(hot: str, name: str) -> None:
    async with bench(Instance.of(Probe(respond))) as it:
        burst = [received(b"x", "10.71.0.9", 40000, False)]
        delattr(burst[0], name)
        with pytest.raises(AttributeError):
            port_of(it)._answers(burst)


@pytest.mark.parametrize("name", ["binding", "route", "tally", "origin"])
async def test_a_taker_that_lacks_something_is_a_mistake(hot: str, name: str) -> None:
    async with bench(Instance.of(Probe(respond))) as it:
        burst = [received(b"x", "10.71.0.9", 40000, False)]
        delattr(port_of(it).flows.find(burst[0].path).plain, name)
        with pytest.raises(AttributeError):
            port_of(it)._answers(burst)


@pytest.mark.parametrize(
    ("name", "value"),
    [("binding", object()), ("tally", ()), ("plain", "1000")],
    ids=["binding", "tally", "plain"],
)
async def test_a_taker_with_something_else_is_a_mistake(name: str, value: object) -> None:
    async with bench(Instance.of(Probe(respond))) as it:
        burst = [received(b"x", "10.71.0.9", 40000, False)]
        setattr(port_of(it).flows.find(burst[0].path).plain, name, value)
        with pytest.raises((TypeError, SystemError)):
            port_of(it)._answers(burst)


async def test_what_is_no_flow_is_refused() -> None:
    async with bench(Instance.of(Probe(respond))) as it:
        burst = [received(b"x", "10.71.0.9", 40000, False)]
        port_of(it).flows.known[burst[0].path] = object()  # type: ignore[assignment] # what is tested
        with pytest.raises(TypeError, match="expected Flow, got object"):
            port_of(it)._answers(burst)


async def test_classes_without_the_slots_are_refused() -> None:
    class Lent:
        path, peer_port, truncated, origin = Received.path, Received.peer_port, Received.truncated, Received.origin

    setup: Any = _hotpath.setup
    for classes in ((Received, Flow, Taker, Datagram), (Lent, Flow, Taker, Binding), (Received, Taker, Flow, Binding)):
        with pytest.raises((AttributeError, TypeError)):
            setup(*classes, "answered")
    async with bench(Instance.of(Probe(respond))) as it:  # nothing of them is used
        await it.deliver(received(b"none", "10.71.0.9", 40000, False))
        assert it.count("silent") == 1


async def test_nothing_is_left_behind(hot: str) -> None:
    """Blocks of memory before and after thousands of datagrams of every kind."""

    async def one_round(it: Bench) -> int:
        for _ in range(20):
            await it.deliver(*(received(*each) for each in burst))
        it.socket.sent.clear()
        gc.collect()
        return sys.getallocatedblocks()

    burst = [(payload, peer, 40000, False) for payload in PAYLOADS for peer in ("10.71.0.9", "fd71::9")]
    async with bench(Instance.of(Probe(respond), max_answer=1000)) as it:
        for _ in range(3):
            await one_round(it)
        before = await one_round(it)
        for _ in range(5):
            after = await one_round(it)
        assert after - before < 200


def port_of(it: Bench) -> port_module.Port:
    return next(iter(it.server.ports.values())).port

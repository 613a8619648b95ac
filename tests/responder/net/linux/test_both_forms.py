"""The compiled module does what the Python form does."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.requirements import lacks_compiled

if missing := lacks_compiled():
    pytest.skip(missing, allow_module_level=True)

from responder import PASS, Answer, Datagram, Reply
from responder.config.instance import Instance, Prepared
from responder.dispatch.outcomes import Histogram
from responder.errors import PeerError
from responder.net.linux.platform import LinuxPlatform
from responder.server.server import open_server
from tests.responder.dispatch.bench import Probe

from ..support import PATIENCE
from .native_support import AskingPort, ask, bound, drained, reply

pytestmark = pytest.mark.ipv6


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
    told = request.destination, request.interface.name, request.service, request.via, request.hop_limit
    return request.payload + f" {told} {request.arrival <= trio.current_time()}".encode()


PAYLOADS = (
    *(b"x", b"y", b"", b"none", b"pass", b"reply", b"several", b"long", b"malformed", b"crash", b"exit", b"nonsense"),
    bytes(3000),
)
SOURCES = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "::1")


BOUNDS = ({}, {"amplification": 5.0}, {"rate": 1e6, "amplification": 30.0})
"""Some answers are refused, and which depends on all that came before."""


async def serve(
    use_compiled: bool, burst: Sequence[tuple[bytes, str]], bounds: Mapping[str, float]
) -> tuple[object, ...]:
    """What is answered to a burst, and all that is counted."""
    first = Instance.of(Probe(respond), "first", port=0, groups=[], max_answer=1000, deny=["127.0.0.3/32"], **bounds)
    with trio.fail_after(PATIENCE), ExitStack() as stack:
        clients = {source: stack.enter_context(bound(source)) for source in SOURCES}
        async with open_server(
            [Prepared(first, first.plugin)], platform=LinuxPlatform(use_compiled=use_compiled)
        ) as running:
            for payload, source in burst:
                target = "::1" if ":" in source else "127.0.0.1"
                clients[source].sendto(payload, (target, running.port()))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(running.run)
                await wait_all_tasks_blocked(0.01)
                running.stop()
            counts = running.counters.snapshot()
        return {source: sorted(drained(sock)) for source, sock in clients.items()}, counts


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(PAYLOADS), st.sampled_from(SOURCES)), max_size=40), st.sampled_from(BOUNDS))
def test_both_forms_do_the_same(burst: list[tuple[bytes, str]], bounds: Mapping[str, float]) -> None:
    assert trio.run(serve, True, burst, bounds) == trio.run(serve, False, burst, bounds)


async def test_times_are_counted(server: socket.socket, client: socket.socket) -> None:
    asking = AskingPort(reply)
    ask(client, server, *[b"x"] * 10)
    asking.binding.latency = Histogram()
    assert asking.answer(server) == 10
    assert sum(asking.binding.latency.counts) == 10
    assert 0 < asking.binding.latency.total < PATIENCE
    assert asking.counts == {"answered": 10}
    # One that takes longer than any before is told apart.
    asking.binding.notable = 0.0
    ask(client, server, b"x")
    assert asking.answer(server) == 1
    assert sum(asking.binding.latency.counts) == 11
    assert asking.binding.slowest > 0

"""What comes on the control channel: an answer of one JSON object a line, or an error that says what was expected.

An input is what a client sends.  One that begins with 0xFF chooses what a client does, step by step: requests made of
the protocol's keys, whole and cut and in pieces, pauses, and datagrams that are seen meanwhile.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import Any
from unittest import mock

import attrs
import trio
import trio.testing

from responder.daemon import control
from responder.daemon.control import MAX_REQUEST, PATIENCE, ServerControl, Trace
from responder.daemon.recent_datagrams import RecentDatagrams
from responder.datagram import Peer, Via
from responder.dispatch import outcomes
from responder.dispatch.observers import Observation, Observers
from responder.net.types import Route

from .choices import Choices
from .streams import rest_of, run

REQUESTS = ("status", "recent", "reload", "trace", "x")
KEYS = ("request", "peers", "plugins", "payloads", "\ud800")
PREFIXES = (
    "10.0.0.0/8",
    "fe80::/10",
    "::1",
    "0.0.0.0/0",
    "::ffff:10.0.0.0/104",
    "10.0.0.1/8",
    "fe80::1%eth0",
    "",
    "1/٣",
)
INSTANCES = ("dns", "tftp", outcomes.NOBODY, "x")
SCALARS = (True, False, None, 0, -1, 1.5e300, "", "trace", "\udfff" * 300)
PEERS = tuple(map(ip_address, ("10.0.0.9", "192.0.2.9", "fe80::9", "::1")))
PAYLOADS = (None, b"", b"x", b"\0\xff" * 100, bytes(3000))
LIMITS = {"TRACE_LIMIT": 20, "TRACE_BYTES": 5000, "TRACE_BURST": 4}
"""Small ones, which take no time to be reached."""

STEPS = 32

SEEDS = (
    b'{"request": "status"}\n',
    b'{"request": "reload"}\n',
    b'{"request": "recent"}\n',
    b'{"request": "trace"}\n',
    b'{"request": "trace", "peers": ["10.0.0.0/8", "fe80::/10", "::1"], "plugins": ["dns"], "payloads": true}\n',
    b'["request"]\n',
    b'{"request": {"a": [null, 1.5e300, "\\u00e9"]}}\n',
    b"\xff" + bytes(40),
    b"\xff\0\0\0" + bytes(range(100)),
    b"\xff\1\0\0\0\3\0\0\1\2" + b"\4\0\1\2\3\4\5\6\7" * 8,
)
WORDS = (
    *(json.dumps(each).encode() for each in (*REQUESTS, *KEYS, *PREFIXES, *INSTANCES)),
    *(b'"%s": ' % key.encode() for key in KEYS[:-1]),
    *(b"true", b"null", b"[[[[", b'{"a":', b"1e999", b"\\ud800", b"NaN", b"-0", b"\n"),
)


class Commands:
    """A daemon with two plugins."""

    def __init__(self) -> None:
        self.observers = Observers()
        self.recent = RecentDatagrams(self.observers, self.words).look

    def status(self) -> dict[str, Any]:
        ports = [{"number": 53, "plugins": ["dns"]}, {"number": 69, "plugins": ["tftp", "dns"]}]
        return {"instances": [{"name": "dns"}, {"name": "tftp"}], "ports": ports}

    async def reload(self) -> list[str]:
        await trio.lowlevel.checkpoint()
        return []

    def words(self, seen: Observation) -> dict[str, str]:
        return {"outcome": seen.outcome}

    def waiting_for_restart(self) -> list[str]:
        return ["daemon.state"]


@attrs.define
class Listener:
    """Has one client."""

    stream: Any
    admits: bool = True

    async def accept(self) -> Any:
        await trio.lowlevel.checkpoint()
        return self.stream

    async def admit(self, _stream: Any) -> bool:
        await trio.lowlevel.checkpoint()
        return self.admits


class Logged:
    """An exception that would only be logged is one that must not happen."""

    def due(self, key: object) -> int:
        raise AssertionError(key)


def _value(choose: Choices, depth: int = 3) -> Any:
    match choose.below(4 if depth else 3):
        case 0:
            return choose.several(partial(choose.of, PREFIXES), 4)
        case 1:
            return choose.several(partial(choose.of, INSTANCES), 4)
        case 2:
            return choose.of(SCALARS)
        case _:
            return choose.several(partial(_value, choose, depth - 1), 3)


def _request(choose: Choices) -> bytes:
    request = {"request": choose.of(REQUESTS)}
    request |= dict(choose.several(lambda: (choose.of(KEYS), _value(choose)), 4))
    line = json.dumps(request, ensure_ascii=choose.of((True, False))).encode(errors="surrogatepass")
    long = b" " * MAX_REQUEST
    ends = line + b"\n", line, line[: len(line) // 2] + b"\n", line + b"\n" + line, line + long + b"\n", long + line
    return choose.of(ends)


def _seen(choose: Choices) -> Observation:
    route = Route(PEERS[0])
    return Observation(
        time=1.0,
        transport="udp",
        port=choose.of((53, 69, 7)),
        peer=Peer(choose.of(PEERS), 40000),
        destination=choose.of((None, *PEERS)),
        interface="lan",
        via=Via.UNICAST,
        instance=choose.of(INSTANCES),
        outcome=outcomes.ANSWERED,
        request=choose.of(PAYLOADS),
        answers=tuple(choose.several(lambda: (2.0, (b"answer", route, 53)), 2)),
    )


@attrs.define
class Client:
    """Does what is chosen, step by step; `seen` counts the datagrams of which its trace was told."""

    choose: Choices
    stream: Any
    observers: Observers
    seen: int = 0

    async def act(self, first: bytes) -> None:
        with suppress(trio.BrokenResourceError):
            await self.stream.send_all(first)
            steps = 0
            while self.choose and steps < STEPS:
                steps += 1
                await trio.testing.wait_all_tasks_blocked()
                await self.step()
            await trio.testing.wait_all_tasks_blocked()
            await self.stream.send_eof()

    async def step(self) -> None:
        match self.choose.below(4):
            case 0:
                await self.stream.send_all(_request(self.choose))
            case 1:
                await self.stream.send_all(self.choose.take(self.choose.below(256)))
            case 2:
                await trio.sleep(self.choose.of((0.01, 0.1, PATIENCE, PATIENCE + 1)))
            case _:
                seen = _seen(self.choose)
                for _ in range(self.choose.of((1, 2, 5, 30))):
                    for observer in self.observers.present:
                        observer(seen)
                        self.seen += isinstance(observer, Trace)


async def _exchange(choose: Choices, data: bytes) -> bytes:
    ours, theirs = choose.of((trio.testing.memory_stream_pair, trio.testing.lockstep_stream_pair))()
    commands = Commands()
    server = ServerControl(commands, max_clients=choose.of((16, 16, 16, 0)))
    server._listener = Listener(ours, admits=choose.of((True, True, True, False)))
    server._repeated = Logged()
    reads_after = choose.of((0, 0, PATIENCE + 1))
    client = Client(choose, theirs, commands.observers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.accept, nursery)
        nursery.start_soon(client.act, data)
        await trio.sleep(reads_after)
        answer = await rest_of(theirs)
    assert server.clients == 0
    assert not any(isinstance(each, Trace) for each in commands.observers.present)
    lines = [json.loads(line) for line in answer.split(b"\n")[:-1]]  # what is cut ends in none
    assert all(len(line) == 1 or "reload" in line for line in lines), lines
    assert sum(line.get("lost", "datagram" in line) for line in lines) <= client.seen
    return answer


def answered(data: bytes) -> bytes | None:
    chosen = data[:1] == b"\xff"
    with mock.patch.multiple(control, **LIMITS):
        return run(_exchange, Choices(data[1:] if chosen else b""), b"" if chosen else data) or None

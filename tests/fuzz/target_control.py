"""What comes on the control channel: an answer of one JSON object a line, or an error that says what was expected."""

from __future__ import annotations

import json
from typing import Any

import trio
import trio.testing

from responder.daemon.control import ServerControl
from responder.dispatch.observers import Observation, Observers

SEEDS = (
    b'{"request": "status"}\n',
    b'{"request": "reload"}\n',
    b'{"request": "trace"}\n',
    b'{"request": "trace", "peers": ["10.0.0.0/8", "fe80::/10", "::1"], "plugins": ["dns"], "payloads": true}\n',
    b'["request"]\n',
    b'{"request": {"a": [null, 1.5e300, "\\u00e9"]}}\n',
)


class Commands:
    """A daemon with one plugin."""

    observers = Observers()

    def status(self) -> dict[str, Any]:
        return {"instances": [{"name": "dns"}], "ports": [{"number": 53, "plugins": ["dns"]}]}

    async def reload(self) -> list[str]:
        await trio.lowlevel.checkpoint()
        return []

    def words(self, _seen: Observation) -> dict[str, str]:
        return {}

    def waiting_for_restart(self) -> list[str]:
        return ["daemon.state"]


class Listener:
    """Has one client, and admits it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def accept(self) -> Any:
        await trio.lowlevel.checkpoint()
        return self._stream

    async def admit(self, _stream: Any) -> bool:
        await trio.lowlevel.checkpoint()
        return True


class Strict(ServerControl):
    """An exception that would only be logged is one that must not happen."""

    def _complain(self, event: str, error: BaseException) -> None:
        raise AssertionError(event) from error


async def _exchange(data: bytes) -> bytes:
    ours, theirs = trio.testing.memory_stream_pair()
    control = Strict(Commands())
    control._listener = listener = Listener(ours)
    async with trio.open_nursery() as nursery:
        await theirs.send_all(data)
        await theirs.send_eof()
        await control.accept(nursery)
        del listener
    answer = b""
    async for part in theirs:
        answer += part
    return answer


def answered(data: bytes) -> bytes | None:
    answer = trio.run(_exchange, data, clock=trio.testing.MockClock(autojump_threshold=0))
    for line in answer.splitlines():
        assert isinstance(json.loads(line), dict), line
    assert not Commands.observers.present
    return answer or None

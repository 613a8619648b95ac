"""The control channel: what `responderd status`, `trace` and `reload` talk to (`responder.daemon.control_client`).

One request a connection, JSON, a line each way, at a path that only the owner may use (`responder.net.owner_socket`):

    {"request": "status"}   -> {"status": {...}}
    {"request": "reload"}   -> {"reload": [messages], "restart": [keys]}: what is wrong, or nothing, and the keys that
                               differ from what is in force, which only a restart changes
    {"request": "recent"}   -> {"recent": [...]}: some of the last datagrams, the newest first, each as a trace has it
                               (`responder.daemon.recent_datagrams`)
    {"request": "trace", "peers": [prefixes], "plugins": [names], "payloads": true}
                            -> {"tracing": true}, then {"datagram": {...}} and {"lost": count} as they come
    anything else           -> {"error": message}

A client must not hurt serving, so everything is bounded: the number of clients, the bytes and the time of a request,
what waits for a slow reader, and how often the daemon does anything for clients at all.  A client that does not read is
cut off.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Protocol

import attrs
import trio

from ..datagram import PrefixSet
from ..dispatch.observers import Observation, Observers
from ..dispatch.outcomes import NOBODY
from ..log import Repeated, get_logger
from ..net import owner_socket
from .paced import Paced
from .recent_datagrams import observation_as_json
from .words import Words

MAX_CLIENTS = 16
MAX_REQUEST = 4096
"""Bytes of a request's line."""

PATIENCE = 5.0
"""Seconds that a client has to say what it wants, and to read each piece of an answer."""

PIECE = 4096
"""Bytes of an answer that a client has to read in `PATIENCE`."""

ACCEPT_PAUSE = 0.005
STATUS_PAUSE = 0.05
"""Seconds between two connections, and two statuses: a flood of either costs a small part of the daemon's time."""

TRACE_LIMIT = 1024
TRACE_BYTES = 1 << 20
"""Limits of a client's queue: observations, and bytes of their payloads.  The client is told what was dropped."""

TRACE_BURST = 100
TRACE_PAUSE = 0.01
"""Observations written at once, and the seconds of pause after them: 10,000 a second cost a part of one core."""

_log = get_logger(__name__)


class Commands(Protocol):
    """What the channel can ask of the daemon."""

    @property
    def observers(self) -> Observers: ...

    def words(self, seen: Observation) -> Words:
        """What was said, in the plugin's own words."""

    def status(self) -> dict[str, Any]:
        """As JSON has it; at least with `instances` (each with `name`) and `ports` (`number`, `plugins`)."""

    def recent(self) -> list[dict[str, Any]]:
        """Some of the last datagrams, as `responder.daemon.recent_datagrams` keeps them."""

    async def reload(self) -> list[str]:
        """Read the configuration again; what is wrong with it, a message each.  Empty: it is in force."""

    def waiting_for_restart(self) -> list[str]:
        """The keys whose values in the file last read are not in force: only a restart changes them."""


class ClientListener(Protocol):
    """Where clients come from: `responder.net.owner_socket`'s, or a supervising process."""

    async def accept(self) -> trio.SocketStream: ...
    async def admit(self, stream: trio.SocketStream) -> bool: ...


async def serve_control(
    path: Path, commands: Commands, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Listen at `path` and answer until cancelled.  Raises NetworkError before it has started, and not after."""
    await serve_at(path, ServerControl(commands), task_status=task_status)


async def serve_at(
    path: Path, control: Control, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """The same with any answers."""
    with closing(owner_socket.listen(path)) as listener:
        task_status.started()
        await control.serve(listener)


class BadRequest(Exception):
    """The message goes to the client."""


@attrs.define(eq=False)
class Control:
    """The daemon's end: it takes requests; classes derived from it answer them.

    `max_clients` and `max_request` (bytes) are its bounds.  `refused` counts requests that were wrong or one too many,
    `cut` clients that were too slow.
    """

    max_clients: int = attrs.field(factory=lambda: MAX_CLIENTS, kw_only=True)
    max_request: int = attrs.field(default=MAX_REQUEST, kw_only=True)
    clients: int = attrs.field(default=0, init=False)
    refused: int = attrs.field(default=0, init=False)
    cut: int = attrs.field(default=0, init=False)
    _repeated: Repeated = attrs.field(factory=Repeated, init=False)
    _listener: ClientListener = attrs.field(init=False)

    async def serve(self, listener: ClientListener) -> None:
        """Answer those who come there until cancelled."""
        self._listener = listener
        async with trio.open_nursery() as nursery:
            while True:
                await self.accept(nursery)
                await trio.sleep(ACCEPT_PAUSE)

    async def answer(self, stream: trio.SocketStream, request: dict[str, Any]) -> None:
        """Raises BadRequest."""
        raise NotImplementedError

    def counts(self) -> dict[str, int]:
        """Of the channel itself, for the status."""
        return {"clients": self.clients, "refused": self.refused, "cut": self.cut}

    async def accept(self, nursery: trio.Nursery) -> None:
        """Take the next connection; where there are too many clients, say so and close it."""
        try:
            stream = await self._listener.accept()
        except OSError as error:
            # Descriptors or memory are short: that may pass, and is nobody's mistake.  Or the socket is to be had anew.
            held_back = self._repeated.due(error.errno)
            if held_back is not None:
                _log.warning("control connections wait", reason=error.strerror or str(error), held_back=held_back)
            await trio.sleep(PATIENCE)
            return
        if self.clients < self.max_clients:
            self.clients += 1
            nursery.start_soon(self._converse, stream)
            return
        self.refused += 1
        # It may not wait for that.
        with trio.move_on_after(ACCEPT_PAUSE), suppress(trio.BrokenResourceError):
            await write(stream, [{"error": f"too many clients: there are {self.max_clients}"}])
            # TCP resets a connection that is closed with something unread, and the answer may go with it.
            await stream.receive_some(MAX_REQUEST)
        await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        try:
            try:
                await self.answer(stream, await self._request(stream))
            except BadRequest as error:
                self.refused += 1
                await write(stream, [{"error": str(error)}])
        except* trio.TooSlowError:
            self.cut += 1
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone, which is its right
        except* Exception as error:
            held_back = self._repeated.due(type(error).__name__)
            if held_back is not None:
                _log.error("a control request failed", exc_info=error, held_back=held_back)
        finally:
            self.clients -= 1
            await trio.aclose_forcefully(stream)

    async def _request(self, stream: trio.SocketStream) -> dict[str, Any]:
        """Raises BadRequest, and TooSlowError."""
        with trio.fail_after(PATIENCE):
            if not await self._listener.admit(stream):
                raise BadRequest("the secret is wrong")
            line = b""
            while b"\n" not in line:
                data = await stream.receive_some(MAX_REQUEST)
                line += data
                if not data or len(line) > self.max_request:
                    raise BadRequest(f"expected a request of one line and up to {self.max_request} bytes")
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            raise BadRequest("expected JSON") from None
        if not isinstance(request, dict):
            raise BadRequest("expected a JSON object")
        return request


@attrs.define(eq=False)
class ServerControl(Control):
    """The answers of a process that serves."""

    _commands: Commands
    _status: Paced[dict[str, Any]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._status = Paced(self._commands.status, STATUS_PAUSE)

    async def answer(self, stream: trio.SocketStream, request: dict[str, Any]) -> None:
        match request:
            case {"request": "status"}:
                await write(stream, [{"status": {**await self._status(), "control": self.counts()}}])
            case {"request": "recent"}:
                await write(stream, [{"recent": self._commands.recent()}])
            case {"request": "reload"}:
                messages = await self._commands.reload()
                await write(stream, [{"reload": messages, "restart": self._commands.waiting_for_restart()}])
            case {"request": "trace"}:
                await self._trace(stream, trace_of(request, await self._status(), self._commands.words))
            case _:
                raise BadRequest("expected one of the requests: status, recent, reload, trace")

    async def _trace(self, stream: trio.SocketStream, trace: Trace) -> None:
        self._commands.observers.add(trace)
        try:
            await write(stream, [{"tracing": True}])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(until_gone, stream, nursery.cancel_scope)
                while True:
                    lines = await trace.next_lines()
                    await write(stream, lines)
                    if len(lines) >= TRACE_BURST:
                        await trio.sleep(TRACE_PAUSE)
        finally:
            self._commands.observers.remove(trace)


async def until_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Cancel the scope once the client sends anything or is gone: a client that watches has nothing more to say."""
    with suppress(trio.BrokenResourceError):
        await stream.receive_some(1)
    scope.cancel()


async def write(stream: trio.SocketStream, lines: Sequence[Mapping[str, Any]]) -> None:
    """Raises TooSlowError where the client does not read."""
    data = b"".join(json.dumps(line, default=_as_json, separators=(",", ":")).encode() + b"\n" for line in lines)
    for start in range(0, len(data), PIECE):
        with trio.fail_after(PATIENCE):
            await stream.send_all(data[start : start + PIECE])


def _as_json(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


# Tracing


def trace_of(request: Mapping[str, Any], status: Mapping[str, Any], words: Callable[[Observation], Words]) -> Trace:
    """Raises BadRequest."""
    peers, plugins = _strings(request, "peers"), _strings(request, "plugins")
    try:
        prefixes = PrefixSet(ip_network(prefix) for prefix in peers)
    except ValueError as error:
        raise BadRequest(f"peers: {error}") from None
    known = [instance["name"] for instance in status["instances"]]
    for name in plugins:
        if name not in known:
            raise BadRequest(f"there is no plugin {name!r} (there are: {', '.join(known)})")
    ports = {port["number"] for port in status["ports"] if plugins.intersection(port["plugins"])}
    return Trace(prefixes, plugins, frozenset(ports), request.get("payloads") is True, words)


def _strings(request: Mapping[str, Any], key: str) -> frozenset[str]:
    values = request.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise BadRequest(f"{key}: expected an array of strings")
    return frozenset(values)


@attrs.define(eq=False)
class Trace:
    """An observer that keeps, for one client, what it has yet to read.

    peers     prefixes; none: every peer
    plugins   instances; none: all.  With them go the datagrams to their `ports` that nobody took
    payloads  with what was sent and received, and not the sizes alone
    words     gives the plugin's words for what is seen
    """

    peers: PrefixSet
    plugins: frozenset[str]
    ports: frozenset[int]
    payloads: bool
    words: Callable[[Observation], Words]
    lost: int = attrs.field(default=0, init=False)
    _waiting: deque[tuple[int, dict[str, Any]]] = attrs.field(factory=deque, init=False)
    _bytes: int = attrs.field(default=0, init=False)
    _last: Observation | None = attrs.field(default=None, init=False)
    _arrived: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __call__(self, seen: Observation) -> None:
        if not self._wants(seen):
            return
        size = 0
        if self.payloads:
            size = len(seen.request or b"") + seen.bytes_sent
        if len(self._waiting) >= TRACE_LIMIT or self._bytes + size > TRACE_BYTES:
            self.lost += 1
        else:
            self._bytes += size
            further = self._is_further_answer(seen)
            self._waiting.append((size, observation_as_json(seen, further, self.payloads, self.words(seen))))
        self._arrived.set()

    def _wants(self, seen: Observation) -> bool:
        if self.peers and seen.peer.address not in self.peers:
            return False
        if not self.plugins or seen.instance in self.plugins:
            return True
        return seen.instance == NOBODY and seen.port in self.ports

    def _is_further_answer(self, seen: Observation) -> bool:
        """Is it about the same request as the one before, of which this is another answer?"""
        last, self._last = self._last, seen
        # Python shares bytes objects of length 0 and 1, so their identity proves nothing.
        return last is not None and seen.request is last.request and len(seen.request or b"") > 1

    async def next_lines(self) -> list[dict[str, Any]]:
        """Wait until there is something; up to `TRACE_BURST` observations, and how many were lost."""
        await self._arrived.wait()
        lines: list[dict[str, Any]] = []
        while self._waiting and len(lines) < TRACE_BURST:
            size, datagram = self._waiting.popleft()
            self._bytes -= size
            lines.append({"datagram": datagram})
        if self.lost:
            lines.append({"lost": self.lost})
            self.lost = 0
        if not self._waiting:
            self._arrived = trio.Event()
        return lines

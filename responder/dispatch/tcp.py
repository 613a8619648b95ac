"""TCP connections to services with `tcp=True`: accepted, checked as datagrams are, and handed out in config order.

What is spoken on a connection is the plugin's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs
import trio

from ..datagram import Peer
from ..errors import ThreadUnavailable
from ..log import Repeated, get_logger
from ..net.types import Accepted, Route, StreamListener
from ..plugin import PASS, Connection
from . import outcomes
from .binding import Binding
from .connections import Active, Wrapped
from .failures import only_the_peer, plugin_failure
from .flow import Decision, Environment, arrive, decide
from .observers import Sent

MAX_WATCHED = 1 << 16
"""Bytes read from a connection that are kept for those who watch, until something is written."""

_log = get_logger(__name__)


@attrs.define(eq=False)
class StreamPort:
    """One bound TCP port and the bindings that serve on it, in config order."""

    listener: StreamListener
    bindings: tuple[Binding, ...]
    environment: Environment
    repeated: Repeated = attrs.field(factory=Repeated)

    async def serve(self, nursery: trio.Nursery) -> None:
        """Accept until cancelled; each connection is a task in `nursery`."""
        while True:
            accepted = await self.listener.accept()
            nursery.start_soon(self._converse, accepted)

    async def _converse(self, accepted: Accepted) -> None:
        flow, environment = accepted.flow, self.environment
        decision = decide(flow, arrive(flow, self.listener.port, self.bindings, environment), environment)
        try:
            if decision.refusal:
                decision.counts[decision.refusal] += 1
                self._tell(accepted, decision, decision.owner, decision.refusal)
            else:
                await self._offer(accepted, decision)
        finally:
            await trio.aclose_forcefully(accepted.stream)

    async def _offer(self, accepted: Accepted, decision: Decision) -> None:
        """Offer the connection to one candidate after the other, until one does not PASS."""
        unread, serving = b"", decision.owner

        def tell(read: bytes | None, read_at: float | None, written: bytes) -> None:
            flow = accepted.flow
            message = (written, Route(flow.peer, flow.scope_id, flow.destination), accepted.port)
            self._tell(accepted, decision, serving, outcomes.CONNECTED, read, read_at, ((time.time(), message),))

        traffic = self.environment.counters.traffic(self.listener.port, "tcp")
        stream: trio.abc.HalfCloseableStream = accepted.stream
        watched = _WatchedStream(stream, tell) if self.environment.observers else None
        if watched is not None:
            stream = watched
        for candidate in decision.candidates:
            binding = candidate.binding
            serving = str(binding)
            limit, per_peer = binding.service.max_connections, binding.service.connections_per_peer
            outcome = outcomes.BUSY
            with binding.connections.place(stream, accepted.flow, limit, traffic, per_peer=per_peer) as place:
                place.stream.put_back(unread)
                outcome = await self._serve_one(binding, accepted, decision, place.stream)
                unread = place.stream.unread
            if outcome != outcomes.PASSED:
                candidate.counts[outcome] += 1
                unanswered = (b"", None) if watched is None else watched.take()
                self._tell(accepted, decision, serving, outcome, unanswered[0] or b"", unanswered[1])
                return
        decision.counts[outcomes.PASSED] += 1
        self._tell(accepted, decision, decision.owner, outcomes.PASSED)

    def _tell(
        self,
        accepted: Accepted,
        decision: Decision,
        instance: str,
        outcome: str,
        read: bytes | None = b"",
        read_at: float | None = None,
        written: tuple[Sent, ...] = (),
    ) -> None:
        if self.environment.observers:
            seen = decision.observation(
                accepted.flow,
                accepted.port,
                time=read_at,
                transport="tcp",
                port=self.listener.port,
                instance=instance,
                outcome=outcome,
                request=read,
                answers=written,
            )
            self.environment.observers.tell(seen)

    async def _serve_one(self, binding: Binding, accepted: Accepted, decision: Decision, stream: Active) -> str:
        flow = accepted.flow
        destination = type(flow.peer)(0) if flow.destination is None else flow.destination
        connection = Connection(
            stream=stream,
            peer=Peer(flow.peer, accepted.port, flow.scope_id),
            destination=destination,
            interface=decision.interface,
            service=binding.service.name,
            port=self.listener.port,
            arrival=trio.current_time(),
            last=binding is decision.candidates[-1].binding,
            put_back=stream.put_back,
        )
        try:
            answer = await binding.handler.converse(connection)
        except BaseException as error:
            if only_the_peer(error):
                return outcomes.CONNECTED
            failure = plugin_failure(error)
            held_back = self.repeated.due((str(binding), type(failure)))
            is_shortage = isinstance(failure, ThreadUnavailable)
            if held_back is not None and is_shortage:
                _log.warning("no thread can be had", plugin=str(binding), reason=str(failure), held_back=held_back)
            elif held_back is not None:
                _log.error("converse failed", exc_info=failure, plugin=str(binding), held_back=held_back)
            return outcomes.BUSY if is_shortage else outcomes.CRASHED
        if answer is PASS:
            return outcomes.PASSED
        return outcomes.CONNECTED


class _WatchedStream(Wrapped):
    """Tells of each write, with what was read since the one before: for most protocols an answer and its request."""

    def __init__(
        self, stream: trio.abc.HalfCloseableStream, tell: Callable[[bytes | None, float | None, bytes], None]
    ) -> None:
        super().__init__(stream)
        self._tell = tell
        self._read = bytearray()
        self._read_at: float | None = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await super().receive_some(max_bytes)
        if data and self._read_at is None:
            self._read_at = time.time()
        if len(self._read) < MAX_WATCHED:
            self._read += data
        return data

    def take(self) -> tuple[bytes | None, float | None]:
        """What was read since the last write, and when it began to come; None where there is nothing."""
        read, self._read = bytes(self._read) or None, bytearray()
        read_at, self._read_at = self._read_at, None
        return read, read_at

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await super().send_all(data)
        self._tell(*self.take(), bytes(data))

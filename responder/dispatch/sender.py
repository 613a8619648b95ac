"""Sending, for one socket: at once where the kernel has room, in bounded time where it has not, and every fate counted.

What may go wrong with one datagram must not touch the next: a source address that vanished, an unreachable peer, a
firewall, a full queue.  A full queue holds the port up for `SEND_PATIENCE` at most; a momentary refusal is tried again
beside everything else, a bounded number of times.

Which addresses a datagram has comes with its route (`responder.dispatch.addressing`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs
import trio

from ..errors import MessageTooLong, SendError, SendRefused, SourceUnavailable, Unreachable
from ..log import Repeated, get_logger
from ..net.sockets import FailedWaits
from ..net.types import DatagramSocket, Message
from . import outcomes
from .outcomes import Counts, Traffic
from .own import OwnDatagrams

SEND_PATIENCE = 0.1
"""Seconds that a full send queue may hold a port up: one unresolved neighbour must not stop the others' answers."""

NO_PATIENCE = 0.02
"""The same in seconds once a batch was given up, until there is room again.  A queue that stays full is full of what
waits for neighbours that can't be found, for seconds each; holding the port up would only lose what still comes in."""

RETRY_DELAYS = (0.01, 0.1)
"""Seconds before each further attempt at a send that the system refused for the moment."""

MAX_RETRIES = 64
"""Sends of a port that may be waiting for a further attempt at a time."""

_REFUSALS = (SendError, TypeError, ValueError, struct.error)
"""What a send raises.  All but the first come from a value that no check caught; they must not end the port."""

_log = get_logger(__name__)


OnFate: TypeAlias = Callable[[Message, str], None]


@attrs.frozen
class Outgoing:
    """A datagram to send, with the counts that its fate is counted in.

    `outcome` is what it was counted as when it was decided; a datagram that is lost is counted as that instead.
    `on_fate` is called once, with the message and what became of it: `outcome` once the kernel has taken it.
    """

    message: Message
    counts: Counts
    outcome: str = outcomes.ANSWERED
    on_fate: OnFate | None = None


@attrs.define(eq=False)
class Sender:
    """Sends on one socket, and has `own` remember what may come back.

    `on_stale` is called where a refusal shows that the interface table is old; `traffic` counts the socket's bytes,
    `failed_waits` the waits for its datagrams, and for those of the port's conversations.
    """

    socket: DatagramSocket
    nursery: trio.Nursery
    on_stale: Callable[[], None]
    own: OwnDatagrams
    traffic: Traffic
    repeated: Repeated = attrs.field(factory=Repeated)
    failed_waits: FailedWaits = attrs.field(init=False)
    _patience: float = attrs.field(default=SEND_PATIENCE, init=False)
    _retrying: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.failed_waits = FailedWaits(f"UDP port {self.socket.port}")

    def send_now(self, messages: Sequence[Message], counted: Sequence[Counts]) -> list[Outgoing]:
        """Send what can go at once, each counted in its counts; what is given back is for `flush`.

        These are answers of the usual case: none goes to a port of this server at this host, so none comes back.
        """
        try:
            sent = self.socket.send(messages)
            self.traffic["sent"] += sum(len(message[0]) for message in messages[:sent])
            if sent == len(messages):
                return []
        except _REFUSALS as error:
            sent = 1
            self._refused(Outgoing(messages[0], counted[0]), error)
        return list(map(Outgoing, messages[sent:], counted[sent:]))

    async def flush(self, batch: Sequence[Outgoing]) -> None:
        """Send a batch.  Raises nothing: failures are counted, and logged once a kind."""
        start = 0
        while start < len(batch):
            try:
                sent = self._send([each.message for each in batch[start:]])
                if sent == 0 and not await self._send_in_time(batch[start:]):
                    return
                for each in batch[start : start + max(1, sent)]:
                    _taken(each)
                start += max(1, sent)
            except _REFUSALS as error:
                self._refused(batch[start], error)
                start += 1

    async def send(self, message: Outgoing) -> None:
        """Send one datagram that a task waits for.  A checkpoint; waits for room.  Raises SendError."""
        if self._send([message.message]):
            await trio.lowlevel.checkpoint()
        else:
            await self._send_when_ready(message.message)
        _taken(message)

    def _send(self, messages: Sequence[Message]) -> int:
        sent = self.socket.send(messages)
        self._note_sent(messages[:sent])
        return sent

    async def _send_when_ready(self, message: Message) -> None:
        await self.socket.send_when_ready(message)
        self._note_sent((message,))

    def _note_sent(self, messages: Sequence[Message]) -> None:
        self.traffic["sent"] += sum(len(message[0]) for message in messages)
        port = self.socket.port
        if port in self.own.shared:
            now = trio.current_time()
            for message in messages:
                self.own.sent(port, message, now)

    async def _send_in_time(self, batch: Sequence[Outgoing]) -> bool:
        """Wait for room for the first; if none comes, give the whole batch up, so that new requests are heard."""
        with trio.move_on_after(self._patience) as scope:
            await self._send_when_ready(batch[0].message)
        if not scope.cancelled_caught:
            self._patience = SEND_PATIENCE
            return True
        self._patience = NO_PATIENCE
        for message in batch:
            _lost(message, outcomes.NO_ROOM)
        fields = {"raise_buffer_by": self.socket.raise_send_buffer_by} if self.socket.raise_send_buffer_by else {}
        # Most likely: others than a neighbour that can't be found don't keep what is sent.
        self._complain(
            "the send queue stays full",
            outcomes.NO_ROOM,
            lost=len(batch),
            likely="answers wait for neighbours that can't be found (the manual, Operating, Kernel settings)",
            **fields,
        )
        return False

    def _refused(self, message: Outgoing, error: Exception) -> None:
        if isinstance(error, SendError):
            self._not_sent(message, error)
        else:
            _lost(message, outcomes.CRASHED)
            self._complain("can't be sent", outcomes.CRASHED, to=message.message[1].to, error=repr(error))

    def _not_sent(self, message: Outgoing, error: SendError) -> None:
        if isinstance(error, SendRefused) and self._retrying < MAX_RETRIES:
            self._retrying += 1
            self.nursery.start_soon(self._retry, message)
            return
        if isinstance(error, SourceUnavailable):
            self.on_stale()
        outcome = outcome_of(error)
        _lost(message, outcome)
        route = message.message[1]
        self._complain("not sent", outcome, to=route.to, source=route.source, error=error.strerror or str(error))

    async def _retry(self, message: Outgoing) -> None:
        try:
            for delay in RETRY_DELAYS:
                await trio.sleep(delay)
                try:
                    if self._send([message.message]):
                        _taken(message)
                        return
                except SendRefused:
                    continue
                except SendError as error:
                    self._not_sent(message, error)
                    return
        finally:
            self._retrying -= 1
        _lost(message, outcomes.NO_ROOM)
        route = message.message[1]
        self._complain("the system refuses to send", outcomes.NO_ROOM, to=route.to, source=route.source)

    def _complain(self, event: str, outcome: str, **fields: object) -> None:
        held_back = self.repeated.due((event, outcome))
        if held_back is not None:
            _log.warning(event, port=self.socket.port, outcome=outcome, **fields, held_back=held_back)


def outcome_of(error: SendError) -> str:
    """What a datagram is counted as that could not be sent."""
    match error:
        case SourceUnavailable():
            return outcomes.SOURCE_GONE
        case MessageTooLong():
            return outcomes.TOO_LONG
        case Unreachable():
            return outcomes.UNREACHABLE
        case SendRefused():
            return outcomes.NO_ROOM
    return outcomes.SEND_FAILED


def _taken(message: Outgoing) -> None:
    if message.on_fate is not None:
        message.on_fate(message.message, message.outcome)


def _lost(message: Outgoing, outcome: str) -> None:
    if message.counts[message.outcome]:
        message.counts[message.outcome] -= 1
    message.counts[outcome] += 1
    if message.on_fate is not None:
        message.on_fate(message.message, outcome)

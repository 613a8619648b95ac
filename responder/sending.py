"""Sending, for one socket: at once where the kernel has room, in bounded time where it has not, and every fate counted.

What may go wrong with one datagram must not touch the next: a source address that vanished, an unreachable peer, a
firewall, a full queue.  A full queue holds the port up for `SEND_PATIENCE` at most; a momentary refusal is tried again
beside everything else, a bounded number of times.

This file refuses to choose addresses (`responder.addressing`) and to know why something is sent.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import attrs
import trio

from . import metrics
from .errors import MessageTooLong, SendError, SendRefused, SourceUnavailable, Unreachable
from .log import Repeated, get_logger
from .metrics import Tally
from .net.types import DatagramSocket, Transmit

SEND_PATIENCE = 0.1
"""Seconds that a full send queue may hold a port up: one unresolved neighbour must not stop the others' answers."""

RETRY_DELAYS = (0.01, 0.1)
"""Seconds before each further attempt at a send that the system refused for the moment."""

MAX_RETRIES = 64
"""Sends of a port that may be waiting for a further attempt at a time."""

_log = get_logger(__name__)


@attrs.define
class Outgoing(Transmit):
    """A datagram to send, with the tally that its fate is counted in.

    `outcome` is what it was counted as when it was decided; a datagram that is lost is counted as that instead.
    """

    tally: Tally
    outcome: str = metrics.ANSWERED


@attrs.define(eq=False)
class Sender:
    """Sends on one socket.  `on_stale` is called where a refusal shows that the interface table is old."""

    socket: DatagramSocket
    nursery: trio.Nursery
    on_stale: Callable[[], None]
    repeated: Repeated = attrs.field(factory=Repeated)
    _retrying: int = attrs.field(default=0, init=False)

    async def flush(self, batch: Sequence[Outgoing]) -> None:
        """Send a batch.  Raises nothing: failures are counted, and logged once a kind."""
        start = 0
        while start < len(batch):
            try:
                sent = self.socket.send(batch[start:] if start else batch)
                if sent == 0:
                    sent = await self._send_in_time(batch[start:])
                start += sent
            except SendError as error:
                self._not_sent(batch[start], error)
                start += 1
            except (TypeError, ValueError, struct.error) as error:
                # A value that no check caught: it must not end the port.
                _lost(batch[start], metrics.CRASHED)
                self._complain("can't be sent", metrics.CRASHED, to=batch[start].route.to, error=repr(error))
                start += 1

    async def send(self, message: Outgoing) -> None:
        """Send one that a task waits for.  Raises SendError; waits while the kernel has no room.  A checkpoint."""
        if self.socket.send([message]):
            await trio.lowlevel.checkpoint()
        else:
            await self.socket.send_when_ready(message)

    async def _send_in_time(self, batch: Sequence[Outgoing]) -> int:
        """Wait for room for the first; if none comes, give the whole batch up, so that new requests are heard."""
        with trio.move_on_after(SEND_PATIENCE) as scope:
            await self.socket.send_when_ready(batch[0])
        if not scope.cancelled_caught:
            return 1
        for message in batch:
            _lost(message, metrics.NO_ROOM)
        self._complain("the send queue stays full", metrics.NO_ROOM, lost=len(batch))
        return len(batch)

    def _not_sent(self, message: Outgoing, error: SendError) -> None:
        if isinstance(error, SendRefused) and self._retrying < MAX_RETRIES:
            self._retrying += 1
            self.nursery.start_soon(self._retry, message)
            return
        match error:
            case SourceUnavailable():
                outcome = metrics.SOURCE_GONE
                self.on_stale()
            case MessageTooLong():
                outcome = metrics.TOO_LONG
            case Unreachable():
                outcome = metrics.UNREACHABLE
            case SendRefused():
                outcome = metrics.NO_ROOM
            case _:
                outcome = metrics.SEND_FAILED
        _lost(message, outcome)
        self._complain(
            "not sent", outcome, to=message.route.to, source=message.route.source, error=error.strerror or str(error)
        )

    async def _retry(self, message: Outgoing) -> None:
        try:
            for delay in RETRY_DELAYS:
                await trio.sleep(delay)
                try:
                    if self.socket.send([message]):
                        return
                except SendRefused:
                    continue
                except SendError as error:
                    self._not_sent(message, error)
                    return
        finally:
            self._retrying -= 1
        _lost(message, metrics.NO_ROOM)
        self._complain("the system refuses to send", metrics.NO_ROOM, to=message.route.to, source=message.route.source)

    def _complain(self, event: str, outcome: str, **fields: object) -> None:
        held_back = self.repeated.due((event, outcome))
        if held_back is not None:
            _log.warning(event, port=self.socket.port, outcome=outcome, **fields, held_back=held_back)


def _lost(message: Outgoing, outcome: str) -> None:
    if message.tally[message.outcome]:
        message.tally[message.outcome] -= 1
    message.tally[outcome] += 1

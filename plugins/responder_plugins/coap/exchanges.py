"""What is remembered of messages: those that came, and those of our own that wait for an acknowledgment.

All of it is bounded; what is forgotten too early costs a repeated answer, which a GET may have (RFC 7252 section 4.5).
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import attrs
import trio

from responder import Datagram, IPAddress, Network, Peer, SendError

from .answering import Response
from .message import Message, Type, write_message

EXCHANGE_LIFETIME: Final = 247.0
NON_LIFETIME: Final = 145.0
"""Seconds that a message ID means the same Confirmable or Non-confirmable message (section 4.8.2)."""

MAX_REMEMBERED: Final = 4096
"""Messages; with an answer of a block each, some 5 MB."""

ACK_TIMEOUT: Final = 2.0
ACK_RANDOM_FACTOR: Final = 1.5
MAX_RETRANSMIT: Final = 4
"""Section 4.8: seconds until a Confirmable message is sent again, doubled each time, and how often."""

TRIES_UNPROVED: Final = 2
"""How often a separate response is sent to a peer that may not be where its request says; a sender may give up early
(section 4.2)."""

MAX_SEPARATE: Final = 64
MAX_SEPARATE_PER_PEER: Final = 8
"""Separate responses that wait for their acknowledgments."""

Way: TypeAlias = tuple[Peer, IPAddress]
"""A peer, and the address of ours that it speaks to."""

Outcome: TypeAlias = Literal["acknowledged", "reset", "timed-out", "gave-way"]


def way_of(datagram: Datagram) -> Way:
    return datagram.peer, datagram.destination


@attrs.define(eq=False)
class Taken:
    """A message that came, by its bytes' hash, and what it was answered with at once; None: nothing, or not yet."""

    digest: int
    until: float
    answer: bytes | None = None


@attrs.define(eq=False)
class Duplicates:
    """The messages that came lately.  One is a duplicate where the same bytes come the same way again.

    A peer that has started anew may use the message IDs of its former life for other requests, which are no duplicates.
    """

    _taken: OrderedDict[tuple[int, int, int, int, int], Taken] = attrs.field(factory=OrderedDict, init=False)

    def __len__(self) -> int:
        return len(self._taken)

    def find(self, request: Datagram, message: Message, now: float) -> Taken | None:
        """What is known of a duplicate; None: it is none."""
        taken = self._taken.get(_key(request, message))
        return taken if taken is not None and taken.digest == hash(request.payload) and now < taken.until else None

    def add(self, request: Datagram, message: Message, now: float) -> Taken:
        """Remember a message."""
        key = _key(request, message)
        self._taken.pop(key, None)
        while self._taken and (len(self._taken) >= MAX_REMEMBERED or next(iter(self._taken.values())).until <= now):
            self._taken.popitem(last=False)
        lifetime = EXCHANGE_LIFETIME if message.type is Type.CON else NON_LIFETIME
        taken = self._taken[key] = Taken(hash(request.payload), now + lifetime)
        return taken


def _key(request: Datagram, message: Message) -> tuple[int, int, int, int, int]:
    """Of numbers, since hashing addresses takes longer than all the rest."""
    peer = request.peer
    return int(peer.address), peer.port, peer.scope_id, int(request.destination), message.message_id


@attrs.define(eq=False)
class Awaited:
    """A delivery; its `outcome`, and the response that it is about, are there once `settled` is set."""

    settled: trio.Event = attrs.field(factory=trio.Event, init=False)
    outcome: Outcome = "timed-out"
    response: Response | None = None

    def settle(self, outcome: Outcome, response: Response | None = None) -> None:
        self.outcome, self.response = outcome, response
        self.settled.set()


@attrs.define(eq=False)
class SeparateResponses:
    """The deliveries of separate responses, by age: a forged source acknowledges nothing, so they are bounded.

    For one too many another one gives way, and is not sent again: the oldest one of the same address where that has
    too many, else the oldest one whose peer is not proved, else the oldest one.
    """

    _waiting: dict[Awaited, tuple[IPAddress, bool]] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, address: IPAddress, *, is_proved: bool) -> Awaited:
        """A new one."""
        of_peer = [each for each, (whose, _) in self._waiting.items() if whose == address]
        if len(of_peer) >= MAX_SEPARATE_PER_PEER:
            self._give_way(of_peer[0])
        elif len(self._waiting) >= MAX_SEPARATE:
            unproved = (each for each, (_, proved) in self._waiting.items() if not proved)
            self._give_way(next(unproved, next(iter(self._waiting))))
        awaited = Awaited()
        self._waiting[awaited] = address, is_proved
        return awaited

    def _give_way(self, awaited: Awaited) -> None:
        self.end(awaited)
        awaited.settle("gave-way")

    def end(self, awaited: Awaited) -> None:
        self._waiting.pop(awaited, None)


@attrs.define(eq=False)
class Outgoing:
    """Messages of our own: their IDs, and the delivery of Confirmable ones.

    network  None before there is one; then what is sent is lost, as a network may lose it
    """

    network: Network | None = None
    uniform: Callable[[float, float], float] = random.uniform
    _awaited: dict[tuple[Way, int], tuple[Awaited, Response]] = attrs.field(factory=dict, init=False)
    _last_id: int = attrs.field(factory=lambda: random.getrandbits(16), init=False)
    _secret: int = attrs.field(factory=lambda: random.SystemRandom().getrandbits(62), init=False)

    def next_id(self, peer: Peer) -> int:
        """A message ID that the peer has not had for long, and that nobody else can guess from its own."""
        self._last_id += 1
        return (self._last_id + hash((self._secret, peer))) & 0xFFFF

    async def send(self, payload: bytes, to: Datagram) -> None:
        """Send to the peer of a datagram, from the address that was asked.  What can't be sent is lost."""
        try:
            if self.network is not None:
                await self.network.send(payload, to=to)
        except SendError:
            pass  # sent again, if it matters; a peer that is gone for good acknowledges nothing

    async def deliver(
        self,
        to: Datagram,
        token: bytes,
        current: Callable[[], Response | None],
        *,
        awaited: Awaited | None = None,
        tries: int = 1 + MAX_RETRANSMIT,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> tuple[Outcome, Response | None]:
        """Send a response as a Confirmable message until it is acknowledged (section 4.2).

        `current` gives the response each time that it is sent: another one than before goes with another message ID,
        and is not sent more often for it (RFC 7641 section 4.5.2); None ends it.  Gives the outcome, and the response
        that it is about.  `awaited` may be settled by others; it is sent once all the same, and has started then.
        """
        awaited, sent, data = awaited or Awaited(), None, b""
        keys: list[tuple[Way, int]] = []
        timeout = self.uniform(ACK_TIMEOUT, ACK_TIMEOUT * ACK_RANDOM_FACTOR)
        try:
            for number in range(tries):
                response = current()
                if response is None:
                    break
                if response is not sent:
                    sent, message_id = response, self.next_id(to.peer)
                    data = write_message(Type.CON, response.code, message_id, token, response.rest)
                    keys.append((way_of(to), message_id))
                    self._awaited[keys[-1]] = awaited, response
                await self.send(data, to)
                if not number:
                    task_status.started()
                with trio.move_on_after(timeout):
                    await awaited.settled.wait()
                    break
                timeout *= 2
        finally:
            for key in keys:
                self._awaited.pop(key, None)
        return awaited.outcome, awaited.response

    def settle(self, datagram: Datagram, message: Message) -> bool:
        """Take an acknowledgment or a reset.  Was it awaited?"""
        found = self._awaited.get((way_of(datagram), message.message_id))
        if found is None:
            return False
        awaited, response = found
        awaited.settle("acknowledged" if message.type is Type.ACK else "reset", response)
        return True

"""Who observes which resource (RFC 7641), and what they were told.  Bounded; sends nothing."""

from __future__ import annotations

import itertools
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from math import inf
from typing import Final, TypeAlias

import attrs

from responder import Datagram, IPAddress

from .answering import Response, refuse, represent
from .asking import Asked
from .exchanges import Way, way_of
from .resources import Content, Unavailable

MAX_UNCONFIRMED: Final = 4
"""Notifications in a row that nothing shows to be heard."""

MIN_UNCONFIRMED: Final = 3.0
"""Seconds from one of those to the next (RFC 7641 section 4.5.1)."""

MAX_SILENCE: Final = 3600.0
"""Seconds after which a peer of which nothing was heard is asked whether it is still there, by a notification."""

REMEMBERED_IDS: Final = 8
"""Non-confirmable notifications of an observation that a reset may still be about."""

State: TypeAlias = Content | Unavailable


@attrs.define(eq=False)
class Observation:
    """One peer's interest in one resource.

    way       the request that began it, without its bytes: notifications go the way of its answer
    asked     what each notification is the answer to
    state     what the resource gave last
    told      the mark of the state that the peer was told last
    heard_at  when the peer last said something; -inf: nothing that a forged source could not have said
    """

    way: Datagram
    token: bytes
    asked: Asked
    max_exponent: int
    state: State
    told: bytes
    heard_at: float
    told_at: float
    numbers: Iterator[int]
    unconfirmed: int = attrs.field(default=0, init=False)
    message_ids: deque[int] = attrs.field(factory=lambda: deque(maxlen=REMEMBERED_IDS), init=False)
    _written: tuple[bytes, Response] | None = attrs.field(default=None, init=False)

    @property
    def mark(self) -> bytes:
        """Another one for another state."""
        return self.state.etag if isinstance(self.state, Content) else bytes([self.state.code])

    def is_due(self, now: float) -> bool:
        """Is there something to tell?"""
        return self.mark != self.told or now - max(self.heard_at, self.told_at) >= MAX_SILENCE

    def must_be_confirmed(self, now: float) -> bool:
        """Who has never acknowledged anything, or not for long, has to, and whoever is told the last thing."""
        return bool(
            self.heard_at == -inf
            or isinstance(self.state, Unavailable)
            or self.unconfirmed >= MAX_UNCONFIRMED
            or (self.unconfirmed and now - self.told_at < MIN_UNCONFIRMED)
            or now - self.heard_at >= MAX_SILENCE
        )

    def notification(self) -> Response:
        """The same object until the state changes or it is told."""
        mark = self.mark
        if self._written is None or self._written[0] != mark:
            self._written = mark, self._write()
        return self._written[1]

    def _write(self) -> Response:
        if isinstance(self.state, Unavailable):
            return refuse(self.state)
        try:
            return represent(self.asked, self.state, self.max_exponent, observe=next(self.numbers))
        except Unavailable as error:  # its content format is another one now
            return refuse(error)

    def tell(self, response: Response, now: float) -> bool:
        """Note that the peer was told.  False: it was the last that it is told (RFC 7641 section 4.2)."""
        if self._written is not None and self._written[1] is response:
            self.told, self._written = self._written[0], None
        self.told_at = now
        return response.code >> 5 == 2


@attrs.define(eq=False)
class Observers:
    """The observations, by ways and tokens.

    Where there are too many, one gives way whose peer has said nothing that a forged source could not have said, the
    oldest first; where there is none, no new one begins.
    """

    limit: int
    limit_per_peer: int
    _by_way: dict[Way, dict[bytes, Observation]] = attrs.field(factory=dict, init=False)
    _silent: OrderedDict[tuple[Way, bytes], None] = attrs.field(factory=OrderedDict, init=False)
    _of_peer: Counter[IPAddress] = attrs.field(factory=Counter, init=False)
    _count: int = attrs.field(default=0, init=False)
    _numbers: Iterator[int] = attrs.field(factory=lambda: (n & 0xFFFFFF for n in itertools.count(1)), init=False)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Observation]:
        return (each for observations in self._by_way.values() for each in observations.values())

    def of(self, way: Way) -> Iterator[Observation]:
        return iter(tuple(self._by_way.get(way, {}).values()))

    def next_number(self) -> int:
        return next(self._numbers)

    def begin(
        self,
        request: Datagram,
        token: bytes,
        asked: Asked,
        max_exponent: int,
        content: Content,
        *,
        is_proved: bool,
        now: float,
    ) -> bool:
        """Observe from now on, in the place of an earlier one with that token.  False: there is no room."""
        way = way_of(request)
        self.end(way, token)
        if self._of_peer[way[0].address] >= self.limit_per_peer or (self._count >= self.limit and not self._silent):
            return False
        if self._count >= self.limit:
            self.end(*next(iter(self._silent)))
        observation = Observation(
            attrs.evolve(request, payload=b""),
            token,
            attrs.evolve(asked, etags=(), echo=b""),
            max_exponent,
            content,
            content.etag,
            now if is_proved else -inf,
            now,
            self._numbers,
        )
        self._by_way.setdefault(way, {})[token] = observation
        self._count += 1
        self._of_peer[way[0].address] += 1
        if not is_proved:
            self._silent[way, token] = None
        return True

    def hear(self, observation: Observation, now: float) -> None:
        """Its peer has acknowledged something, and so is where its request said."""
        self._silent.pop((way_of(observation.way), observation.token), None)
        observation.heard_at, observation.unconfirmed = now, 0

    def holds(self, observation: Observation) -> bool:
        """Does it go on?"""
        return self._by_way.get(way_of(observation.way), {}).get(observation.token) is observation

    def end(self, way: Way, token: bytes) -> bool:
        """Forget one.  Was there one?"""
        observations = self._by_way.get(way, {})
        if observations.pop(token, None) is None:
            return False
        if not observations:
            del self._by_way[way]
        self._count -= 1
        self._silent.pop((way, token), None)
        address = way[0].address
        self._of_peer[address] -= 1
        if not self._of_peer[address]:  # a Counter keeps zeros, and peers choose the keys
            del self._of_peer[address]
        return True

    def reject(self, way: Way, message_id: int) -> bool:
        """A reset of one of our notifications ends its observation (RFC 7641 section 3.6).  Was it one?"""
        return any(self.end(way, each.token) for each in self.of(way) if message_id in each.message_ids)

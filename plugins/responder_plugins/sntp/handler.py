"""Answers SNTP clients with the time of this host's clock.  Nothing is kept about clients, and no clock is set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import ceil, inf, log2
from time import get_clock_info
from typing import TYPE_CHECKING, Final, Self

import attrs

from responder import (
    Answer,
    ConfigError,
    Context,
    Datagram,
    Exchange,
    Handler,
    KernelClock,
    Via,
    kernel_clock,
    wall_time,
)

from ..shared.refused import Refused
from .message import (
    HEADER_BYTES,
    KISS_INIT,
    KISS_RATE,
    UNSYNCHRONISED,
    Clock,
    read_mac,
    refusal_of,
    timestamp,
    words_of,
    write_answer,
)

if TYPE_CHECKING:
    from . import Sntp

LOOKED_AT: Final = 1.0
"""Seconds that the kernel's word on the clock is good for."""

PRECISION: Final = ceil(log2(max(get_clock_info("time").resolution, 1e-6)))
"""As a power of 2 in seconds (RFC 5905 section 7.3): the clock's resolution, or the time to read it, below 1 us."""

LOCAL_DISPERSION: Final = 0.01
"""Seconds of root dispersion of a clock that nothing is known about, as ntpd has it of one ("LOCAL")."""

LOCAL: Final = bytes([127, 127, 1, 1])
"""A reference that is no other server: what ntpd and chronyd tell of their own clock.  Stratum 1 has a text."""


def no_time(kiss_code: bytes) -> Clock:
    """What an answer says that tells no time, and the kiss code why."""
    return Clock(UNSYNCHRONISED, 0, PRECISION, 0, kiss_code, 0)


KISS_OF_DEATH: Final = no_time(KISS_RATE).heads()


@attrs.define(eq=False)
class SntpHandler(Handler):
    """Answers for one instance.

    keys   by number
    clock  the kernel's word on the clock
    """

    stratum: int
    trusts_always: bool
    keys: Mapping[int, bytes] = attrs.field(factory=dict)
    clock: Callable[[], KernelClock | None] = kernel_clock
    counted: Counter[str] = attrs.field(factory=Counter, init=False)
    _heads: Mapping[int, tuple[bytes, bytes]] = attrs.field(factory=dict, init=False)
    _is_right: bool = attrs.field(default=False, init=False)
    _until: float = attrs.field(default=-inf, init=False)
    """What answers begin with, whether they tell the time, and until when (a moment of trio's clock) that holds."""

    @classmethod
    def of(cls, options: Sntp, context: Context) -> Self:
        """Raises ConfigError for keys without the package that they need."""
        if options.keys:
            try:
                import cryptography  # noqa: F401, PLC0415 - an extra, and this says that it is there
            except ImportError as error:
                raise ConfigError(
                    "needs the package cryptography: pip install 'responderd[sntp-keys]'", path="keys"
                ) from error
        if options.trust == "kernel" and kernel_clock() is None:
            context.warn(
                ConfigError(
                    "the kernel does not say that the clock is synchronised: until then clients are told not to use it",
                    path="trust",
                )
            )
        keys = {int(number): bytes.fromhex(secret) for number, secret in options.keys.items()}
        return cls(options.stratum, options.trust == "always", keys)

    def respond(self, request: Datagram) -> Answer:
        """Answer a client.  Raises PeerError for what is no request of one."""
        payload, arrival = request.payload, request.arrival
        if arrival > self._until:
            self._look(arrival)
        head = self._heads.get(payload[0]) if len(payload) >= HEADER_BYTES else None
        if head is None:
            raise self._refused(refusal_of(payload))
        key = self._key_of(payload) if self.keys and len(payload) > HEADER_BYTES else None
        if self._is_right:
            self.counted["told"] += 1
        else:
            self.counted["unsynchronised"] += 1
            if request.via is not Via.UNICAST:
                return None  # a manycast client looks for a server that has the time (RFC 5905 section 3.1)
        receive = timestamp(wall_time(arrival))
        answer = write_answer(payload, head, receive, timestamp(wall_time()))
        return answer if key is None else answer + self._mac(key, answer)

    def over_rate(self, request: Datagram) -> bytes | None:
        """The kiss of death "RATE" (RFC 5905 section 7.4), without a MAC."""
        self.counted["kiss-rate"] += 1
        now = timestamp(wall_time())
        return write_answer(request.payload, KISS_OF_DEATH[request.payload[0]], now, now)

    def _refused(self, error: Refused) -> Refused:
        self.counted[error.kind] += 1
        return error

    def _look(self, now: float) -> None:
        """See what the kernel says now."""
        told = self.clock()
        self._until = now + LOOKED_AT
        self._is_right = told is not None or self.trusts_always
        clock = no_time(KISS_INIT)
        if self._is_right:
            leap = 0 if told is None else {1: 1, -1: 2}.get(told.leap_second, 0)
            dispersion = LOCAL_DISPERSION if told is None else told.max_error
            reference = b"LOCL" if self.stratum == 1 else LOCAL
            clock = Clock(leap, self.stratum, PRECISION, dispersion, reference, timestamp(wall_time(now)))
        self._heads = clock.heads()

    def _key_of(self, payload: bytes) -> int | None:
        """The number of the key that a request is authenticated with, None: it isn't.  Raises Refused."""
        from .mac import is_right  # noqa: PLC0415 - cryptography is an extra

        try:
            found = read_mac(payload)
        except Refused as error:
            raise self._refused(error) from None
        if found is None:
            return None
        number, code, message = found
        key = self.keys.get(number)
        if key is None or not is_right(key, message, code):
            raise self._refused(Refused("a MAC that is none of our keys'", "bad-mac"))
        self.counted["authenticated"] += 1
        return number

    def _mac(self, number: int, answer: bytes) -> bytes:
        from .mac import digest  # noqa: PLC0415 - cryptography is an extra

        return number.to_bytes(4) + digest(self.keys[number], answer)

    def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
        return words_of(exchange.request, exchange.answers)

    def counts(self) -> Mapping[str, int]:
        """Requests by what became of them."""
        return self.counted

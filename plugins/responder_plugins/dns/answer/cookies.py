"""Server cookies (RFC 7873) in the form that all servers of a name can share (RFC 9018), and SipHash for them.

A cookie proves that its client gets what is sent to its address, so it frees the client from rate limiting.  Without a
configured secret the process makes its own, and a new one every day: a cookie holds an hour, so the one before it is
all that has to be kept.  Reloads don't change it.  No state about clients.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from typing import Final

from responder import IPAddress

from ..cache import BoundedCache

CLIENT: Final = 8
"""Bytes of a client's part."""

ROLL: Final = 86400
VALID: Final = 3600
AHEAD: Final = 300
RENEW: Final = 1800
"""Seconds: a secret's time; and (RFC 9018 section 4.3) how old a cookie may be, how far ahead, when it is renewed."""

MAX_SEEN: Final = 10_000
"""Good cookies remembered, counting twice (see `BoundedCache`)."""

_own: dict[int, bytes] = {}
"""The process's own secrets by their day (since 1970)."""


def siphash24(key: bytes, data: bytes) -> bytes:
    """SipHash-2-4 of 8 bytes, little-endian, under a key of 16 (Aumasson and Bernstein, 2012)."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    a, b, c, d = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    whole = len(data) - len(data) % 8
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, whole, 8)]
    words.append(int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56)
    mask = 0xFFFFFFFFFFFFFFFF
    # What goes into d before and into a behind so many rounds, and into c before.  The rounds stand in the loop, since
    # calls would take most of the time.
    for word, end, rounds in [*((word, 0, 2) for word in words), (0, 0xFF, 4)]:
        d ^= word
        c ^= end
        for _ in range(rounds):
            a = (a + b) & mask
            b = ((b << 13 & mask) | b >> 51) ^ a
            a = (a << 32 & mask) | a >> 32
            c = (c + d) & mask
            d = ((d << 16 & mask) | d >> 48) ^ c
            a = (a + d) & mask
            d = ((d << 21 & mask) | d >> 43) ^ a
            c = (c + b) & mask
            b = ((b << 17 & mask) | b >> 47) ^ c
            c = (c << 32 & mask) | c >> 32
        a ^= word
    return (a ^ b ^ c ^ d).to_bytes(8, "little")


class Cookies:
    """`secrets` of 16 bytes, the first for new cookies, all for those that come; none: our own, which roll.

    `clock` gives seconds of Unix time; `own` is where own secrets are kept, by day.
    """

    def __init__(
        self, secrets: tuple[bytes, ...], clock: Callable[[], float], own: dict[int, bytes] | None = None
    ) -> None:
        self._secrets = secrets
        self._clock = clock
        self._own = _own if own is None else own
        # Hashes of cookies that were good: a client shows the same one for half an hour.
        self._seen: BoundedCache[bytes, bytes] = BoundedCache(MAX_SEEN)

    def answer(self, cookie: bytes, address: IPAddress) -> tuple[bytes, bool]:
        """The cookie to send to who sent this one, and whether what came was good."""
        client, server = cookie[:CLIENT], cookie[CLIENT:]
        now = int(self._clock())
        # RFC 9018 section 4: version 1, three reserved bytes, seconds, hash.
        if len(server) == 16 and server[:4] == b"\1\0\0\0":
            made = int.from_bytes(server[4:8])
            age = (now - made + 0x80000000) % 0x100000000 - 0x80000000  # RFC 1982 arithmetic
            if -AHEAD <= age <= VALID and self._is_ours(cookie, address, (now - age) // ROLL):
                if age < RENEW:
                    return cookie, True
                return self._make(client, address, now), True
        return self._make(client, address, now), False

    def _is_ours(self, cookie: bytes, address: IPAddress, day: int) -> bool:
        """Did a server with our secrets make it for this address?"""
        made = cookie[: CLIENT + 8] + address.packed
        if self._seen.get(made) == cookie[CLIENT + 8 :]:
            return True
        for secret in self._secrets or self._kept(day):
            if hmac.compare_digest(cookie[CLIENT + 8 :], siphash24(secret, made)):
                self._seen.put(made, cookie[CLIENT + 8 :])
                return True
        return False

    def _make(self, client: bytes, address: IPAddress, now: int) -> bytes:
        day = now // ROLL
        secret = self._secrets[0] if self._secrets else self._secret_of(day)
        plain = b"\1\0\0\0" + (now & 0xFFFFFFFF).to_bytes(4)
        return client + plain + siphash24(secret, client + plain + address.packed)

    def _secret_of(self, day: int) -> bytes:
        if day not in self._own:
            for other in [other for other in self._own if other != day - 1]:
                del self._own[other]
            self._own[day] = os.urandom(16)
        return self._own[day]

    def _kept(self, day: int) -> tuple[bytes, ...]:
        return (self._own[day],) if day in self._own else ()

"""Who has shown that it is where its requests say, by repeating an Echo option (RFC 9175).

A source may be forged.  What repeats a value that only its owner has seen is there, so it may get more.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from typing import Final

import attrs

from responder import IPAddress

LIFETIME: Final = 600.0
"""Seconds that a value may be repeated in, and that a proof holds for."""

MAX_PROVED: Final = 4096

DIGEST_BYTES: Final = 6


@attrs.define(eq=False)
class Proofs:
    """The addresses that are proved; the oldest is forgotten first.  What they are to repeat is not kept."""

    _key: bytes = attrs.field(factory=lambda: secrets.token_bytes(16), init=False)
    _until: OrderedDict[IPAddress, float] = attrs.field(factory=OrderedDict, init=False)

    def __len__(self) -> int:
        return len(self._until)

    def challenge(self, address: IPAddress, now: float) -> bytes:
        """What that peer is to repeat."""
        return self._value(address, int(now) & 0xFFFFFFFF)

    def _value(self, address: IPAddress, moment: int) -> bytes:
        time = moment.to_bytes(4)
        return time + hashlib.blake2s(time + address.packed, digest_size=DIGEST_BYTES, key=self._key).digest()

    def hold(self, address: IPAddress, echo: bytes, now: float) -> bool:
        """Is the peer proved, by what it repeats or from before?"""
        until = self._until.get(address)
        if until is not None and now < until:
            return True
        moment = int.from_bytes(echo[:4])
        if not echo or not 0 <= (int(now) - moment) & 0xFFFFFFFF <= LIFETIME:
            return False
        if not secrets.compare_digest(echo, self._value(address, moment)):
            return False
        if until is None and len(self._until) >= MAX_PROVED:
            self._until.popitem(last=False)
        self._until[address] = now + LIFETIME
        self._until.move_to_end(address)
        return True

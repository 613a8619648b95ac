"""What stands in front of a record's data: TTL, class and type (RFC 1035 section 5.1, RFC 2308 section 4)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import attrs
import dns.ttl

from .rdata import type_of
from .words import Unreadable, shortened, shown

MAX_TTL: Final = 2**31 - 1
_CLASS_IN: Final = frozenset({b"IN", b"CLASS1"})  # RFC 3597 section 5 has the second
_OTHER_CLASSES: Final = frozenset({b"CH", b"HS", b"CS"})


@attrs.define
class Ttls:
    """The TTL of records that state none: that of $TTL (RFC 2308 section 4), else the last one stated."""

    default: int | None = None
    last: int | None = None

    @property
    def current(self) -> int | None:
        return self.last if self.default is None else self.default


def read_header(words: Sequence[bytes], at: int) -> tuple[int | None, int, int]:
    """The TTL, where it is stated, the type, and the number of the first word of the data.

    [TTL] [class] type, or the class first.  Raises Unreadable.
    """
    ttl: int | None = None
    for _ in range(2):
        if at == len(words):
            raise Unreadable("a record without a type")
        word = words[at]
        if word[:1].isdigit():
            ttl = read_ttl(word)
        elif word.upper() not in _CLASS_IN:
            if word.upper() in _OTHER_CLASSES or word.upper().startswith(b"CLASS"):
                raise Unreadable(f"class {shortened(word.decode(errors='replace'))}: the zone is of class IN")
            break
        at += 1
    if at == len(words):
        raise Unreadable("a record without a type")
    return ttl, _type(words[at]), at + 1


@functools.lru_cache(1024)
def _type(word: bytes) -> int:
    try:
        return type_of(word.decode("ascii", "replace"))
    except ValueError as error:
        raise Unreadable(str(error)) from None


@functools.lru_cache(1024)
def read_ttl(word: bytes) -> int:
    """Raises Unreadable."""
    text = word.decode("ascii", "replace")
    try:
        # Python reads no number of thousands of digits.
        ttl = dns.ttl.from_text(text) if len(text) < 100 or not word.isdigit() else MAX_TTL + 1
    except (dns.ttl.BadTTL, ValueError):
        raise Unreadable(f"bad TTL {shown(text)}") from None
    if ttl > MAX_TTL:
        raise Unreadable(f"bad TTL {shown(text)}: above {MAX_TTL} (RFC 2181 section 8)")
    return int(ttl)

"""SVCB and HTTPS records as master files have them (RFC 9460), with what their RFCs let stand and dnspython refuses.

    an alias with parameters       section 2.4.2: who reads it ignores them
    ech without an ECHConfigList   RFC 9848 section 3 has the form; RFC 9460 section 2.2: clients ignore another one

Both are served as they stand, and warned of.  Other values that are not of their key's form are refused (RFC 9460
appendix D.3).
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

import dns.name

from ..message import wire
from . import rdata
from .words import Entry, Malformed

TYPES: Final = frozenset({wire.SVCB, wire.HTTPS})

_ECH: Final = 5
_ECH_KEYS: Final = (b"ech", b"key5")
_ECH_CONFIG: Final = bytes.fromhex("0004fe0d0000")
"""An ECHConfigList that dnspython takes, in place of the one in the file: a configuration without content."""


def to_wire(rdtype: int, entry: Entry, at: int, origin: dns.name.Name) -> tuple[bytes, list[str]]:
    """The rdata from the word `at` on, and what to warn of.  Raises DNSException, and what else dnspython raises."""
    warnings: list[str] = []
    rewritten, ech = _without_ech(entry, at)
    is_alias = rewritten.words[0].isdigit() and not int(rewritten.words[0]) if rewritten.words else False
    is_alias = is_alias and len(rewritten.words) > 2
    if is_alias:
        warnings.append("the parameters of an alias mean nothing")
        rewritten.words[0] = b"1"
    data = rdata.by_dnspython(rdtype, rewritten.text(0, empty_values=True), origin)
    if is_alias:
        data = bytes(2) + data[2:]
    if ech is not None:
        data = _with_ech(data, ech)
        if len(ech) < len(_ECH_CONFIG) or int.from_bytes(ech[:2]) != len(ech) - 2:
            warnings.append("ech holds no ECHConfigList, so that clients ignore this RRset (RFC 9460 section 2.2)")
    return data, warnings


def _without_ech(entry: Entry, at: int) -> tuple[Entry, bytes | None]:
    """The words from `at` on, with `_ECH_CONFIG` for the value of ech, and that value."""
    words: list[bytes] = []
    adjoining: set[int] = set()
    key, value = b"", b""
    found: bytes | None = None
    for number, word in enumerate(entry.words[at:], at):
        adjoins = number in entry.adjoining
        if not adjoins:
            key, _, value = word.partition(b"=")
        if number < at + 2 or key not in _ECH_KEYS:
            if adjoins:
                adjoining.add(len(words))
            words.append(word)
            continue
        if adjoins:
            value += word.removeprefix(b'"')
        else:
            words.append(b"ech=" + base64.b64encode(_ECH_CONFIG))
        found = _ech_value(key, value) if number + 1 not in entry.adjoining else found
    return Entry(words, adjoining, entry.indented, entry.size), found


def _ech_value(key: bytes, text: bytes) -> bytes:
    """Base64, or for the key by its number the bytes themselves (RFC 9460 section 2.1).  Raises ValueError."""
    value = rdata.unescaped(text)
    if key != b"ech":
        return value
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except binascii.Error:
        raise Malformed("ech is not base64") from None


def _with_ech(data: bytes, ech: bytes) -> bytes:
    at = wire.name_end(data, 2)
    while True:  # by_dnspython has put it there
        end = at + 4 + int.from_bytes(data[at + 2 : at + 4])
        if int.from_bytes(data[at : at + 2]) == _ECH:
            return data[: at + 2] + len(ech).to_bytes(2) + ech + data[end:]
        at = end

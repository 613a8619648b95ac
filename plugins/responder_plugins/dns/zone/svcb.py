"""SVCB and HTTPS records as master files have them (RFC 9460), with what their RFCs let stand and dnspython refuses.

    an alias with parameters       section 2.4.2: who reads it ignores them
    ech without an ECHConfigList   RFC 9848 section 3 has the form; RFC 9460 section 2.2: clients ignore another one

Both are served as they stand, and warned of, in the generic form (RFC 3597) too.  Other values that are not of their
key's form are refused (RFC 9460 appendix D.3).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final

import dns.name

from ..message import wire
from . import rdata
from .words import Entry, Malformed

TYPES: Final = frozenset({wire.SVCB, wire.HTTPS})

_ECH: Final = 5
_DOHPATH: Final = 7
_ECH_KEYS: Final = (b"ech", b"key5")
_ECH_CONFIG: Final = bytes.fromhex("0004fe0d0000")
"""An ECHConfigList that dnspython takes, in place of the one in the file: a configuration without content."""


_DNS_VARIABLE: Final = re.compile(r"\{[+#./;?&]?(?:[^{}]*,)?dns(?:\*|:[0-9]+)?(?:,[^{}]*)?\}")
"""RFC 6570 section 2.3."""


def to_wire(rdtype: int, entry: Entry, at: int, origin: dns.name.Name) -> tuple[bytes, list[str]]:
    """The rdata from the word `at` on, and what to warn of.  Raises DNSException, and what else dnspython raises."""
    if entry.words[at : at + 1] == [rdata.GENERIC]:
        given = _from_generic(entry, at)
        if given is None:  # dnspython says what is wrong
            return rdata.by_dnspython(rdtype, entry.text(at), origin), []
        ech = next((value for key, value in _parameters(given) if key == _ECH), None)
        checked = given if ech is None else _with_ech(given, _ECH_CONFIG)
        is_alias = not int.from_bytes(given[:2]) and any(True for _ in _parameters(given))
        checked = b"\0\1" + checked[2:] if is_alias else checked
        rdata.by_dnspython(rdtype, f"\\# {len(checked)} {checked.hex()}", origin)
        data = given
    else:
        rewritten, ech = _without_ech(entry, at)
        is_alias = rewritten.words[0].isdigit() and not int(rewritten.words[0]) if rewritten.words else False
        is_alias = is_alias and len(rewritten.words) > 2
        if is_alias:
            rewritten.words[0] = b"1"
        data = rdata.by_dnspython(rdtype, rewritten.text(0, empty_values=True), origin)
        data = bytes(2) + data[2:] if is_alias else data
        data = data if ech is None else _with_ech(data, ech)
    for key, value in _parameters(data):
        if key == _DOHPATH:
            _check_dohpath(value)
    warnings = ["the parameters of an alias mean nothing"] if is_alias else []
    if ech is not None and (len(ech) < len(_ECH_CONFIG) or int.from_bytes(ech[:2]) != len(ech) - 2):
        warnings.append("ech holds no ECHConfigList, so that clients ignore this RRset (RFC 9460 section 2.2)")
    return data, warnings


def _from_generic(entry: Entry, at: int) -> bytes | None:
    """The bytes of rdata in the generic form; None where they are not so many, or no parameters."""
    try:
        size, data = int(entry.words[at + 1]), bytes.fromhex(b"".join(entry.words[at + 2 :]).decode())
        list(_parameters(data))
        return data if len(data) == size else None
    except (ValueError, LookupError):
        return None


def _parameters(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Keys and values of rdata, behind the name.  Raises ValueError where they are cut off."""
    at = wire.name_end(data, 2)
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at + 2 : at + 4])
        if end > len(data):
            raise ValueError("cut off")
        yield int.from_bytes(data[at : at + 2]), data[at + 4 : end]
        at = end


def _check_dohpath(value: bytes) -> None:
    """Raises Malformed unless it is a relative URI template with the variable "dns" (RFC 9461 section 5)."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    if not text.startswith("/") or _DNS_VARIABLE.search(text) is None:
        raise Malformed("dohpath is no path with a variable of the name dns (RFC 9461 section 5)")


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
    """The rdata with another value of ech, which it has."""
    parts = [data[: wire.name_end(data, 2)]]
    for key, value in _parameters(data):
        value = ech if key == _ECH else value  # noqa: PLW2901 - the value that it gets
        parts.append(key.to_bytes(2) + len(value).to_bytes(2) + value)
    return b"".join(parts)

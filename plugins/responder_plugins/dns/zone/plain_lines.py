"""Reads plain lines of master files: one record with plain names, of the types that large zones are made of.

Such a line costs a fifth of what dnspython's tokenizer takes for it.  Every other line, mistakes included, is None here
and is read by the tokenizer, which says what is wrong.  A test compares both.
"""

from __future__ import annotations

import re
from typing import Final

import dns.exception
import dns.ipv4
import dns.ipv6

from ..message import wire

_LINE: Final = re.compile(
    r"([\w*-][\w.*-]*|@)?[ \t]+(?:([0-9]{1,9})[ \t]+)?(?:IN[ \t]+)?(A|AAAA|NS|CNAME|PTR)[ \t]+([\w.:-]+|@)[ \t]*\n",
    re.ASCII | re.IGNORECASE,
)

_TYPES: Final = {"A": wire.A, "AAAA": wire.AAAA, "NS": wire.NS, "CNAME": wire.CNAME, "PTR": wire.PTR}


def read(line: str, owner: bytes | None, origin: bytes) -> tuple[bytes, int | None, int, bytes] | None:
    """Name as written, TTL where it is stated, type and rdata; None: the tokenizer has to read the line.

    `owner` is the name of the line before, `origin` what follows names without a dot at their end; both in wire form.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    name, ttl, word, data = found.groups()
    rdtype = _TYPES[word.upper()]
    written = owner if name is None else _name(name, origin)
    try:
        if rdtype == wire.A:
            rdata: bytes | None = dns.ipv4.inet_aton(data)
        elif rdtype == wire.AAAA:
            rdata = dns.ipv6.inet_aton(data)
        else:
            rdata = _name(data, origin)
    except dns.exception.SyntaxError:
        return None
    if written is None or rdata is None:
        return None
    return written, None if ttl is None else int(ttl), rdtype, rdata


def _name(text: str, origin: bytes) -> bytes | None:
    """In wire form; None for what is none."""
    if text == "@":
        return origin
    labels = text.encode().split(b".")
    if labels[-1]:
        rest = origin
    else:
        del labels[-1]
        rest = wire.ROOT
    if not all(0 < len(label) < 64 and b":" not in label for label in labels):
        return None
    name = b"".join([bytes((len(label),)) + label for label in labels]) + rest
    return name if len(name) <= wire.MAX_NAME else None

"""HTTPU, the HTTP of datagrams that SSDP speaks (UPnP Device Architecture 2.0, "UDA", section 1.1): bytes and values.

The reader accepts what real control points send: names in any case, spaces around names and values, LF for CRLF, empty
lines first, any bytes in a value, header fields in any order, a body.  It raises PeerError for anything but one whole,
bounded message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

from ..shared.refused import Refused

MAX_MESSAGE: Final = 4096
"""Bytes of a message that is read; searches have some 100 to 500."""

MAX_HEADERS: Final = 64

MAX_TARGET: Final = 256
"""Characters of ST; the longest type has a domain name and a name of 64 characters (UDA section 2.3)."""

MAX_MX: Final = 5
"""Seconds; a larger MX is taken as this (section 1.3.3)."""

DISCOVER: Final = "ssdp:discover"

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token, RFC 9110 section 5.6.2
_MX: Final = re.compile(r"[0-9]+", re.ASCII)
_EMPTY_LINES: Final = re.compile(rb"(?:\r?\n)*")  # before the first line, a server ignores them (RFC 9112 section 2.2)
_UNREADABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # control characters but for tab and LF
_ONCE: Final = frozenset({"man", "mx", "st"})
_STARTS: Final = (["M-SEARCH", "*", "HTTP/1.1"], ["M-SEARCH", "*", "HTTP/1.0"])


@attrs.frozen
class Message:
    """A message: its first line, and its header fields by name in small letters.

    Bytes of a value that are no UTF-8 (RFC 9110 section 5.5 allows them) are surrogate escapes.
    """

    start: str
    headers: Mapping[str, str]


@attrs.frozen
class Search:
    """An M-SEARCH: the search target (ST) as it was asked, and MX, 0 to 5 seconds, which a unicast search lacks."""

    target: str
    mx: int | None


def read_message(payload: bytes) -> Message:
    """Raises Refused."""
    if len(payload) > MAX_MESSAGE:
        raise Refused(f"{len(payload)} bytes, more than {MAX_MESSAGE}")
    text = _without_empty_lines(payload).decode(errors="surrogateescape").replace("\r\n", "\n")
    head, blank, _body = text.partition("\n\n")
    if not blank:
        raise Refused("no empty line after the header fields")
    if _UNREADABLE.search(head):
        raise Refused("control characters")
    start, *lines = head.split("\n")
    if len(lines) > MAX_HEADERS:
        raise Refused(f"more than {MAX_HEADERS} header fields")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or not _NAME.fullmatch(name):
            raise Refused("a line that is no header field")
        if name in headers and name in _ONCE:
            raise Refused(f"{name.upper()} is there twice", f"bad-{name}")
        headers.setdefault(name, value.strip())
    return Message(start, headers)


def read_search(payload: bytes) -> Search | None:
    """The search, or None for an announcement or an answer, which the groups carry too.  Raises Refused."""
    payload = _without_empty_lines(payload)
    kind = payload[:9].upper()
    if kind.startswith((b"NOTIFY ", b"HTTP/1.")):
        return None
    if not kind.startswith(b"M-SEARCH "):
        raise Refused("not SSDP")
    message = read_message(payload)
    if message.start.upper().split() not in _STARTS:
        raise Refused("a search for something else than *, or in another version of HTTP")
    if _unquoted(message, "man").lower() != DISCOVER:
        raise Refused(f"MAN is not {DISCOVER}", "bad-man")
    target = _unquoted(message, "st")
    if not target or len(target) > MAX_TARGET or not target.isprintable() or " " in target:
        raise Refused("no search target that could be matched", "bad-st")
    return Search(target, _read_mx(message.headers.get("mx")))


def _without_empty_lines(payload: bytes) -> bytes:
    """The payload from its first line on."""
    found = _EMPTY_LINES.match(payload, 0, MAX_MESSAGE)
    return payload[found.end() :] if found else payload


def _unquoted(message: Message, name: str) -> str:
    """A value without quotes: some control points leave MAN's out, some put them around ST.

    Raises Refused for a quote without its other one.
    """
    value = message.headers.get(name, "")
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if '"' in value:
        raise Refused(f"a lone quote in {name.upper()}", f"bad-{name}")
    return value


def _read_mx(value: str | None) -> int | None:
    """Raises Refused for what is no number of seconds (UDA section 1.3.2)."""
    if value is None:
        return None
    if not _MX.fullmatch(value):
        raise Refused("MX is no number of seconds", "bad-mx")
    return min(int(value), MAX_MX)  # a message has fewer digits than `int` refuses


def write_message(start: str, headers: Mapping[str, object]) -> bytes:
    """A message; a field whose value is None is left out, and one that is empty has no space behind its colon."""
    lines = [f"{name}: {value}".rstrip() for name, value in headers.items() if value is not None]
    return "\r\n".join([start, *lines, "", ""]).encode()


def write_search(host: str, target: str, mx: int, name: str) -> bytes:
    """A multicast search (section 1.3.2); `host` is the group with its port, `name` the control point's."""
    headers = {"HOST": host, "MAN": f'"{DISCOVER}"', "MX": mx, "ST": target, "CPFN.UPNP.ORG": name}
    return write_message("M-SEARCH * HTTP/1.1", headers)

"""HTTPU, the HTTP of datagrams that SSDP speaks (UPnP Device Architecture 2.0, "UDA", section 1.1): bytes and values.

Tolerant of what real control points send: any case, spaces around names and values, LF for CRLF, headers in any order,
a body.  Strict about what is answered: one whole, bounded, readable message, or PeerError.  This file refuses to know
devices, addresses and time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

from responder import PeerError

MAX_MESSAGE: Final = 4096
"""Bytes of a message that is read; searches take some 100 to 500."""

MAX_HEADERS: Final = 64

MAX_TARGET: Final = 256
"""Characters of ST; a domain, a type of 64 characters (UDA section 2.3) and the rest take less."""

MAX_MX: Final = 120
"""Seconds; the most that UDA 1.0 (section 1.2.2) lets a control point ask for."""

DISCOVER: Final = "ssdp:discover"

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token, RFC 9110 section 5.6.2
_MX: Final = re.compile(r"0*([1-9][0-9]{0,2})", re.ASCII)
_UNREADABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # control characters but for tab and LF
_ONCE: Final = frozenset({"man", "mx", "st"})
_STARTS: Final = (["M-SEARCH", "*", "HTTP/1.1"], ["M-SEARCH", "*", "HTTP/1.0"])


class Malformed(PeerError):
    """A message that gets no answer; `kind` is what it is counted by."""

    def __init__(self, message: str, kind: str = "malformed") -> None:
        super().__init__(message)
        self.kind = kind


@attrs.frozen
class Message:
    """A message: its first line, and its headers by name in small letters."""

    start: str
    headers: Mapping[str, str]


@attrs.frozen
class Search:
    """An M-SEARCH: the search target (ST), and MX in seconds, which a unicast search has not."""

    target: str
    mx: int | None


def read_message(payload: bytes) -> Message:
    """Raises Malformed."""
    if len(payload) > MAX_MESSAGE:
        raise Malformed(f"{len(payload)} bytes, more than {MAX_MESSAGE}")
    try:
        text = payload.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise Malformed("not UTF-8") from error
    head, blank, _body = text.partition("\n\n")
    if not blank:
        raise Malformed("no blank line after the headers")
    if _UNREADABLE.search(head):
        raise Malformed("control characters")
    start, *lines = head.split("\n")
    if len(lines) > MAX_HEADERS:
        raise Malformed(f"more than {MAX_HEADERS} headers")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or not _NAME.fullmatch(name):
            raise Malformed("a line that is no header")
        if name in headers and name in _ONCE:
            raise Malformed(f"{name.upper()} is there twice", f"bad-{name}")
        headers.setdefault(name, value.strip())
    return Message(start, headers)


def read_search(payload: bytes) -> Search | None:
    """The search, or None for the other messages that are seen on the groups: announcements, and answers to others.

    Raises Malformed.
    """
    kind = payload[:9].upper()
    if kind.startswith((b"NOTIFY ", b"HTTP/1.")):
        return None
    if not kind.startswith(b"M-SEARCH "):
        raise Malformed("not SSDP")
    message = read_message(payload)
    if message.start.upper().split() not in _STARTS:
        raise Malformed("a search for something else than *, or in another version of HTTP")
    if _unquoted(message, "man").lower() != DISCOVER:
        raise Malformed(f"MAN is not {DISCOVER}", "bad-man")
    target = _unquoted(message, "st")
    if not target or len(target) > MAX_TARGET or not target.isprintable() or " " in target:
        raise Malformed("no search target that could be matched", "bad-st")
    return Search(target, _read_mx(message.headers.get("mx")))


def _unquoted(message: Message, name: str) -> str:
    """A header without its quotes, which some leave out of MAN and some put around ST.  Raises Malformed for one."""
    value = message.headers.get(name, "")
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if '"' in value:
        raise Malformed(f"a lone quote in {name.upper()}", f"bad-{name}")
    return value


def _read_mx(value: str | None) -> int | None:
    """Raises Malformed for what is no number of seconds from 1 to `MAX_MX` (UDA section 1.3.2)."""
    if value is None:
        return None
    found = _MX.fullmatch(value)
    if found is None or int(found[1]) > MAX_MX:
        raise Malformed("MX is no number of seconds", "bad-mx")
    return int(found[1])


def write_message(start: str, headers: Mapping[str, object]) -> bytes:
    """A message; a header whose value is None is left out, and one that is empty has no space behind its colon."""
    lines = [f"{name}: {value}".rstrip() for name, value in headers.items() if value is not None]
    return "\r\n".join([start, *lines, "", ""]).encode()


def write_search(host: str, target: str, mx: int, name: str) -> bytes:
    """A multicast search (section 1.3.2); `host` is the group with its port, `name` the control point's."""
    headers = {"HOST": host, "MAN": f'"{DISCOVER}"', "MX": mx, "ST": target, "CPFN.UPNP.ORG": name}
    return write_message("M-SEARCH * HTTP/1.1", headers)

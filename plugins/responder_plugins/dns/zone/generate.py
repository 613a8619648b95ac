"""BIND's $GENERATE: lines that differ by a number, as BIND's manual (the ARM, "Zone File") has it.

    $GENERATE start-stop[/step] owner [TTL] [class] type rdata

In owner and rdata `$` is the number, `\\$` and `$$` a dollar sign, and `${offset,width,base}` the number with an
offset, in so many digits, in base d, o, x or X; n and N are its hexadecimal digits from the last on as labels, as
reverse names of IPv6 have them.  A negative number is -1 in base d, and a mistake in others.

The rdata is one word for BIND: data of several words stands within quotes, which are no part of it.  So `TXT "a b"`
makes two strings, and `TXT "\\"a b\\""` one.  Several words without quotes around them are taken as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from .rdata import FIELDS
from .record import read_header
from .words import Entry, Unreadable, entry_at, shown

MAX_LINES: Final = 1_000_000
"""Of all directives of a zone: some minutes."""

_RANGE: Final = re.compile(rb"([0-9]{1,10})-([0-9]{1,10})(?:/([0-9]{1,10}))?")
_PLACE: Final = re.compile(rb"\\.|\$\$|\$(?:\{([^}]*)\})?", re.DOTALL)
_FORM: Final = re.compile(rb"([+-]?[0-9]{1,10})(?:,([0-9]{1,3})(?:,([doxXnN]))?)?")


def generated(directive: Entry, most: int) -> Iterator[bytes]:
    """The lines that a directive stands for, each with its end.  Raises Unreadable, also for more than `most`."""
    words = directive.words
    if len(words) < 4:
        raise Unreadable("$GENERATE: expected a range, an owner, a type and data")
    found = _RANGE.fullmatch(words[1])
    if found is None:
        raise Unreadable(
            f"$GENERATE: expected a range as 1-10 or 0-254/2, got {shown(words[1].decode(errors='replace'))}"
        )
    start, stop, step = int(found[1]), int(found[2]), int(found[3] or 1)
    if stop < start or not step:
        raise Unreadable("$GENERATE: expected a range that grows")
    if (stop - start) // step >= most:
        raise Unreadable(f"$GENERATE: more than {MAX_LINES} lines in one zone")
    pieces = _pieces(_template(directive))
    for number in range(start, stop + 1, step):
        yield b"".join([piece if isinstance(piece, bytes) else _written(number, *piece) for piece in pieces])


def cuts_a_text(directive: Entry) -> bool:
    """Do quotes hold several strings, where who does not know BIND expects one?"""
    _, rdtype, at = read_header(directive.words, 3)
    data = _unquoted(directive.words[at:])
    return data is not None and FIELDS.get(rdtype) == "s" and len(entry_at(data, 0).words) > 1


def _template(directive: Entry) -> bytes:
    """A record's line, with the places of the number."""
    _, _, at = read_header(directive.words, 3)
    data = _unquoted(directive.words[at:])
    return (directive.source(2) if data is None else directive.source(2, at) + b" " + data) + b"\n"


def _unquoted(data: Sequence[bytes]) -> bytes | None:
    """Data that is one quoted word, without its quotes; None for other data.  Raises Unreadable."""
    if len(data) != 1 or data[0][:1] != b'"':
        return None
    if b"\n" in data[0]:
        raise Unreadable("$GENERATE: a quote goes on in the next line")
    # An escaped quote becomes one; other escapes stay.
    return re.sub(rb"\\(.)", lambda found: b'"' if found[1] == b'"' else found[0], data[0][1:])


def _pieces(template: bytes) -> list[bytes | tuple[int, int, bytes]]:
    """What stays, and in between the places of the number: offset, width and base."""
    pieces: list[bytes | tuple[int, int, bytes]] = []
    at = 0
    for found in _PLACE.finditer(template):
        pieces.append(template[at : found.start()])
        at = found.end()
        if found[0] in (b"\\$", b"$$"):
            pieces.append(b"$")
        elif found[0].startswith(b"\\"):
            pieces.append(found[0])
        elif found[1] is None:
            pieces.append((0, 0, b"d"))
        else:
            form = _FORM.fullmatch(found[1])
            if form is None:
                raise Unreadable(
                    f"$GENERATE: expected ${{offset,width,base}}, got {shown(found[0].decode(errors='replace'))}"
                )
            pieces.append((int(form[1]), int(form[2] or 0), form[3] or b"d"))
    pieces.append(template[at:])
    return pieces


def _written(number: int, offset: int, width: int, base: bytes) -> bytes:
    number += offset
    if number < 0 and base != b"d":
        raise Unreadable(f"$GENERATE: the offset makes {number - offset} negative, which only base d can write")
    if base not in b"nN":
        return format(number, f"0{width}{base.decode()}").encode()
    # A label a digit, the last digit first; the width counts the dots in between (BIND's manual).
    digits = format(number, "x" if base == b"n" else "X")[::-1]
    return ".".join(digits.ljust((width + 1) // 2, "0")).encode()

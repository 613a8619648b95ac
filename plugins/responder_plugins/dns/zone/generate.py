"""BIND's $GENERATE: lines that differ by a number.

    $GENERATE start-stop[/step] owner [TTL] [class] type rdata

In owner and rdata `$` is the number, `\\$` a dollar sign, and `${offset,width,base}` the number with an offset, in so
many digits, in base d, o, x or X; n and N are its hexadecimal digits from the last on as labels, as reverse names of
IPv6 have them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .words import Unreadable

MAX_LINES: Final = 1_000_000

_RANGE: Final = re.compile(rb"([0-9]{1,10})-([0-9]{1,10})(?:/([0-9]{1,10}))?")
_PLACE: Final = re.compile(rb"\\.|\$(?:\{([^}]*)\})?", re.DOTALL)
_FORM: Final = re.compile(rb"([+-]?[0-9]{1,10})(?:,([0-9]{1,3})(?:,([doxXnN]))?)?")


def generated(line: bytes) -> Iterator[bytes]:
    """The lines that a directive stands for, each with its end.  Raises Unreadable."""
    parts = line.split(None, 3)
    if len(parts) < 4:
        raise Unreadable("$GENERATE: expected a range, an owner, a type and data")
    _, text, owner, rest = parts
    found = _RANGE.fullmatch(text)
    if found is None:
        raise Unreadable(f"$GENERATE: expected a range as 1-10 or 0-254/2, got {text.decode(errors='replace')!r}")
    start, stop, step = int(found[1]), int(found[2]), int(found[3] or 1)
    if stop < start or not step:
        raise Unreadable("$GENERATE: expected a range that grows")
    if (stop - start) // step >= MAX_LINES:
        raise Unreadable(f"$GENERATE: more than {MAX_LINES} lines")
    template = owner + b" " + rest.rstrip(b"\n") + b"\n"
    pieces = _pieces(template)
    for number in range(start, stop + 1, step):
        yield b"".join([piece if isinstance(piece, bytes) else _written(number, *piece) for piece in pieces])


def _pieces(template: bytes) -> list[bytes | tuple[int, int, bytes]]:
    """What stays, and in between the places of the number: offset, width and base."""
    pieces: list[bytes | tuple[int, int, bytes]] = []
    at = 0
    for found in _PLACE.finditer(template):
        pieces.append(template[at : found.start()])
        at = found.end()
        if found[0].startswith(b"\\"):
            pieces.append(b"$" if found[0] == b"\\$" else found[0])
        elif found[1] is None:
            pieces.append((0, 0, b"d"))
        else:
            form = _FORM.fullmatch(found[1])
            if form is None:
                raise Unreadable(
                    f"$GENERATE: expected ${{offset,width,base}}, got {found[0].decode(errors='replace')!r}"
                )
            pieces.append((int(form[1]), int(form[2] or 0), form[3] or b"d"))
    pieces.append(template[at:])
    return pieces


def _written(number: int, offset: int, width: int, base: bytes) -> bytes:
    number += offset
    if number < 0:
        raise Unreadable(f"$GENERATE: the offset makes {number - offset} negative")
    if base not in b"nN":
        return format(number, f"0{width}{base.decode()}").encode()
    # A label a digit, the last digit first; the width counts the dots in between (BIND's manual).
    digits = format(number, "x" if base == b"n" else "X")[::-1]
    return ".".join(digits.ljust((width + 1) // 2, "0")).encode()

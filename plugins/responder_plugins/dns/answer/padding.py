"""Padding of answers (RFC 7830), in blocks (RFC 8467): what is encrypted does not tell its length either."""

from __future__ import annotations

from typing import Final

from responder import Connection, Datagram

from ..message import wire

PLAIN: Final = "default"
"""The service whose connections everyone can read."""

BLOCK: Final = 468
"""Bytes that the length of a padded answer is a multiple of (RFC 8467 section 4.1)."""


def padded(opt: bytes, edns: wire.Edns, request: Datagram | Connection, room: int, size: int) -> bytes:
    """The OPT record that ends a message of `size` bytes so far, padded where that is asked for and hides something.

    Nothing where the message would have more than `room` bytes.
    """
    if edns.padding and isinstance(request, Connection) and request.service != PLAIN:
        # RFC 7830 section 4: padding hides lengths where the rest is hidden too.
        padding = min(-(size + len(opt) + 4) % BLOCK, room - size - len(opt) - 4)
        if padding >= 0:
            opt = wire.with_option(opt, wire.PADDING, bytes(padding))
    return opt if size + len(opt) <= room else b""

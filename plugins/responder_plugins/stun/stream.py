"""STUN messages on a TCP connection (RFC 8489 section 6.2.2): each tells its length, so nothing stands between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from ..shared.refused import Refused
from .message import COOKIE_BYTES, HEADER_BYTES

MAX_REQUEST: Final = 4096
"""Bytes of a request by TCP, and of a connection that are held at a time."""

IDLE: Final = 60.0
"""Seconds within which a client must have sent its next request and taken its answers.

More than the 39.5 s that a client waits for an answer (RFC 8489 section 6.2.2)."""


async def serve(stream: trio.abc.Stream, answer: Callable[[bytes], bytes | None]) -> None:
    """Answer requests until the client ends or idles, or sends what is no message.

    `answer` raises Refused for what is no STUN message: then the connection ends, since nobody knows where the next
    would begin.
    """
    held = b""
    while True:
        with trio.move_on_after(IDLE) as idle:
            data = await stream.receive_some(MAX_REQUEST)
            if not data:
                return
            held += data
            answers = []
            try:
                while (size := size_of(held)) is not None and len(held) >= size:
                    answers.append(answer(held[:size]) or b"")
                    held = held[size:]
                is_broken = False
            except Refused:
                is_broken = True  # the requests before it get their answers all the same
            if any(answers):
                await stream.send_all(b"".join(answers))
            if is_broken:
                return
        if idle.cancelled_caught:
            return


def size_of(held: bytes) -> int | None:
    """The bytes of the message that begins there; None: that is not known yet.  Raises Refused."""
    if len(held) < HEADER_BYTES:
        return None
    # RFC 3489 had Binding requests by UDP only.
    if held[4:8] != COOKIE_BYTES:
        raise Refused("no magic cookie", "malformed")
    size = HEADER_BYTES + int.from_bytes(held[2:4])
    if size > MAX_REQUEST:
        raise Refused(f"a message of {size} bytes", "malformed")
    return size

"""What `tests.fuzz` gives to stun, and how it judges."""

from __future__ import annotations

import contextlib

from responder import Exchange, PeerError, Reply
from tests.fakes import LAN

from .support import (
    CLASSIC,
    COOKIE,
    SAMPLE_IPV4_RESPONSE,
    SAMPLE_LONG_TERM_REQUEST,
    SAMPLE_REQUEST,
    attribute,
    change,
    handler_of,
    message,
    request_for,
    told,
    with_fingerprint,
)

SEEDS = (
    message(),
    with_fingerprint(message()),
    SAMPLE_REQUEST,
    SAMPLE_LONG_TERM_REQUEST,
    SAMPLE_IPV4_RESPONSE,
    change(0),
    change(6),
    message(transaction=CLASSIC),
    change(2, transaction=CLASSIC),
    message(attributes=attribute(0x0026, bytes(40)) + attribute(0x7FFF)),
    message(attributes=attribute(0x0027, b"\x9c\x40\0\0")),
    message(0x0011),
)

HANDLER = handler_of(software="x")


def answered(payload: bytes) -> bytes | None:
    """The answer, once judged.  Raises AssertionError for one that would not be right."""
    with contextlib.suppress(PeerError):
        HANDLER.describe(Exchange("tcp", 3478, payload, (payload,)))
    try:
        answer = HANDLER.respond(request_for(payload, LAN))
    except PeerError:
        return None
    if answer is None:
        # An indication, or a change that RFC 3489's clients ask for and can't have.
        assert payload[:2] == b"\0\x11" or (payload[4:8] != COOKIE and b"\0\3\0\4" in payload)
        return None
    data = answer.payload if isinstance(answer, Reply) else answer
    assert isinstance(data, bytes)
    assert payload[:2] == b"\0\1"
    response = told(data)
    assert response.type in (0x0101, 0x0111)
    assert response.transaction == payload[4:20]
    assert len(data) <= len(payload) + 60
    return data

"""What `tests.fuzz` gives to nbns, and how it judges."""

from __future__ import annotations

import contextlib

from responder_plugins.nbns.announcer import places_of
from responder_plugins.nbns.message import ANY, Response, decode, read, read_status

from responder import PeerError
from tests.fakes import LAN

from .support import handler_of, query, refusal, registration, request_for, status

SEEDS = (
    query(),
    query("WORKGROUP", 0x1E),
    query("WPAD"),
    status(),
    status("LAB"),
    registration(),
    registration("WORKGROUP", 0x1E, group=True, opcode=15),
    refusal(registration()),
)

HANDLER = handler_of()
HANDLER.announcer._owned = {place: set(HANDLER.names.values()) for place in places_of(LAN)}


def answered(payload: bytes) -> bytes | None:
    """The answer, once judged.  Raises AssertionError for one that would not be right."""
    with contextlib.suppress(PeerError):
        heard = read(payload)
        if isinstance(heard, Response):
            read_status(heard.rdata)
    try:
        answer = HANDLER.respond(request_for(payload, LAN))
    except PeerError:
        return None
    if not isinstance(answer, bytes):
        return None
    response = read(answer)
    assert isinstance(response, Response)
    assert response.name in {*HANDLER.names, ANY}
    assert decode(answer[12:46]) == response.name
    assert len(answer) <= 193
    return answer

"""What `tests.fuzz` gives to llmnr, and how it judges."""

from __future__ import annotations

import contextlib

import dns.message
from responder_plugins.llmnr.handler import LlmnrHandler
from responder_plugins.llmnr.message import read_response
from responder_plugins.llmnr.verifier import State

from responder import PeerError
from tests.fakes import LAN

from .support import C, T, handler_of, query, request_for, response_to

SEEDS = (
    query(),
    query("lab", "ANY"),
    query("lab", "AAAA", use_edns=0, payload=1232),
    query("1.0.71.10.in-addr.arpa", "PTR"),
    query(LAN.addresses[2].address.reverse_pointer, "PTR"),
    query(flags=C),
    query("wpad"),
    response_to(query()),
    response_to(query("lab", "ANY"), flags=T),
)

OWN = {"lab.", *(f"{own.address.reverse_pointer}." for own in LAN.addresses)}


def _handler() -> LlmnrHandler:
    handler = handler_of("lab")
    handler.verifier._states = {(LAN.index, b"\3lab\0"): State.UNIQUE}
    return handler


HANDLER = _handler()


def answered(payload: bytes) -> bytes | None:
    """The answer, once judged.  Raises AssertionError for one that would not be right."""
    with contextlib.suppress(PeerError):
        read_response(payload)
    try:
        answer = HANDLER.respond(request_for(payload, LAN))
    except PeerError:
        return None
    if not isinstance(answer, bytes):
        return None
    message = dns.message.from_wire(answer)
    (question,) = message.question
    assert question.name.to_text().lower() in OWN
    assert message.rcode() == 0
    assert len(answer) <= 512 or message.edns == 0
    return answer

"""What `tests.fuzz` gives to sntp, and how it judges."""

from __future__ import annotations

import contextlib
from unittest import mock

from responder_plugins.sntp import handler
from responder_plugins.sntp.message import read_mac

from responder import PeerError
from tests.fakes import LAN

from .support import handler_of, request, request_for

SEEDS = (
    request(),
    request(0x1B),
    request(0xE3, poll=17),
    request(behind=bytes(20)),
    request(behind=bytes.fromhex("0104001c") + bytes(24) + b"\0\0\0\7" + bytes(16)),
    request(0x26),
)

HANDLER = handler_of()


def answered(payload: bytes) -> bytes | None:
    """The answer, once judged.  Raises AssertionError for one that would not be right."""
    with contextlib.suppress(PeerError):
        read_mac(payload)
    try:
        with mock.patch.object(handler, "wall_time", return_value=1e9):  # there is no trio around it
            answer = HANDLER.respond(request_for(payload, LAN))
    except PeerError:
        return None
    assert isinstance(answer, bytes)
    assert len(answer) == 48 <= len(payload)
    assert payload[0] & 7 == 3
    assert answer[0] & 0x3F == payload[0] & 0x38 | 4
    assert answer[24:32] == payload[40:48]
    return answer

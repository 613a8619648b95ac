"""What `tests.fuzz` gives to coap, and how it judges: messages by unicast and to a group."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio
from responder_plugins.coap import Content, Resource
from responder_plugins.coap.message import Code

from responder import Datagram, Peer, PeerError, Via
from tests.fakes import LAN

from .support import ACK, CON, NON, RST, block2, empty, get, handler_of, message, read

SEEDS = (
    get("/about"),
    get("/state?unit=C", 2, (6, b""), block2(0, 64), kind=NON),
    get("/state", 3, (4, b"12345678"), (17, b"\x28"), (28, b""), (252, bytes(10)), token=b""),
    get("/.well-known/core?rt=ex*&href=/a*", 4, block2(1, 16)),
    get("/a/b%20c/" + "x" * 300, 5, (3, b"host"), (7, b"\x16\x33"), (35, b"coap://x"), (2000, b"y" * 300)),
    message(CON, 2, 6, b"12345678", [(11, b"about")], b"payload"),
    message(ACK, 0x45, 7, b"tok", [(12, b"")], b"response"),
    *(empty(kind, 8) for kind in range(4)),
)
WORDS = (
    *b"\xbb.well-known\x04core|\xb5about|\xb5state|\xc1\x06|\xd1\x0a\x06|\xd1\x0e\x00|\xe1\0\0|\x60|\x61\1|\xff".split(
        b"|"
    ),
    *b"rt= rt=ex* rel= if= href=/ href=/a* ct=40 sz= obs title= unit= coap://".split(),
)


class State(Resource):
    """More than a block, which may be observed."""

    observable = True

    def get(self, queries: Sequence[str]) -> Content:
        return Content("&".join(queries).encode() + bytes(300))


HANDLER = handler_of({"/about": {"text": "a lab", "rt": "example"}}, more={"/state": State()})
REQUEST = Datagram(b"", Peer("10.71.0.9", 40000), "10.71.0.2", LAN)


def answered(payload: bytes) -> bytes | None:
    """The answer to a peer, once judged.  Raises AssertionError for one that would not be right."""
    real = trio.current_time
    trio.current_time = lambda: 1e6  # there is no trio around it; mock.patch would take most of the time
    try:
        group = ask(payload, "224.0.1.187", Via.MULTICAST)
        answer = ask(payload, "10.71.0.2", Via.UNICAST)
    finally:
        trio.current_time = real
    assert not isinstance(group, bytes), "to a group everything takes its time"
    assert len(HANDLER.observers) <= 10
    assert len(HANDLER.duplicates) <= 4096
    if answer is None:
        return None
    told, kind, message_id = read(answer), payload[0] >> 4 & 3, int.from_bytes(payload[2:4])
    assert len(answer) <= 192, "one small block, and options"
    assert kind in (CON, NON)
    if told.kind == RST:
        assert (told.code, told.message_id, len(answer)) == (0, message_id, 4)
    else:
        assert told.kind == (ACK if kind == CON else NON)
        assert told.token == payload[4 : 4 + (payload[0] & 15)]
        assert told.code >> 5 in (2, 4, 5)
        assert told.code != Code.INTERNAL_SERVER_ERROR, "no resource here fails"
        assert kind == NON or told.message_id == message_id
    return answer


def ask(payload: bytes, destination: str, via: Via) -> bytes | None:
    try:
        answer = HANDLER.respond(attrs.evolve(REQUEST, payload=payload, destination=destination, via=via))
    except PeerError:
        return None
    close = getattr(answer, "close", None)  # of a coroutine
    if close is not None:
        close()
        return None
    assert answer is None or isinstance(answer, bytes)
    return answer

"""What comes on an HTTP connection: served, refused or ended, with an answer that h11 reads."""

from __future__ import annotations

from http import HTTPStatus

import h11
import trio
import trio.testing
from responder_plugins.shared.http import Document, Request, serve

SEEDS = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\nHEAD /a?b=c HTTP/1.0\r\nHost: a:80\r\nUser-Agent: x\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Type: Text/XML; charset=utf-8\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
)


def _respond(request: Request) -> Document | HTTPStatus:
    assert request.path == "" or request.path.startswith("/"), request
    return Document(request.body, "text/plain") if "a" in request.path else HTTPStatus.NOT_FOUND


async def _exchange(data: bytes) -> bytes:
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.move_on_after(1):  # for one that waits for more: it would wait for `IDLE` seconds
        async with trio.open_nursery() as nursery:
            await theirs.send_all(data)
            await theirs.send_eof()
            await serve(ours, _respond, server="x", methods=("GET", "HEAD", "POST"))
            nursery.cancel_scope.cancel()
    await ours.aclose()
    answer = b""
    async for part in theirs:
        answer += part
    return answer


def answered(data: bytes) -> bytes | None:
    answer = trio.run(_exchange, data, clock=trio.testing.MockClock(autojump_threshold=0))
    if not answer:
        return None
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.receive_data(answer)
    event = client.next_event()
    assert isinstance(event, h11.Response | h11.InformationalResponse), event
    return answer

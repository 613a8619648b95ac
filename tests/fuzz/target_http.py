"""What comes on an HTTP connection: served, refused or ended, with an answer that h11 reads."""

from __future__ import annotations

from http import HTTPStatus

import h11
import trio
from responder_plugins.shared.http import Document, Request, serve

from .streams import answer_to

SEEDS = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\nHEAD /a?b=c HTTP/1.0\r\nHost: a:80\r\nUser-Agent: x\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Type: Text/XML; charset=utf-8\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
)
WORDS = (
    b"GET |HEAD |POST |PUT |OPTIONS |CONNECT | HTTP/1.1\r\n| HTTP/1.0\r\n| HTTP/2.0\r\n|\r\n\r\n|"
    b"Host: a\r\n|Host: [::1]:80\r\n|Connection: keep-alive\r\n|Connection: close\r\n|"
    b"Connection: upgrade\r\n|Upgrade: h2c\r\n|"
    b"Content-Length: 0\r\n|Content-Length: |Content-Type: |; charset=|Expect: 100-continue\r\n|User-Agent: x\r\n|"
    b"Transfer-Encoding: chunked\r\n|Transfer-Encoding: gzip, chunked\r\n|0\r\n\r\n|1\r\na\r\n|ffffffffffffffff|"
    b"http://a/|*|//|/../|%2f|%00|?|#|[::1]|:80"
).split(b"|")


def _respond(request: Request) -> Document | HTTPStatus:
    assert request.path == "" or request.path.startswith("/"), request
    return Document(request.body, "text/plain") if "a" in request.path else HTTPStatus.NOT_FOUND


async def _serve(stream: trio.abc.Stream) -> None:
    with trio.move_on_after(1):  # for one that waits for more: it would wait for `IDLE` seconds
        await serve(stream, _respond, server="x", methods=("GET", "HEAD", "POST"))


def client_of(answer: bytes) -> h11.Connection:
    """A client that has asked once, and received this to its end."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    return client


def answered(data: bytes) -> bytes | None:
    answer = answer_to(data, _serve)
    if not answer:
        return None
    event = client_of(answer).next_event()
    assert isinstance(event, h11.Response | h11.InformationalResponse), event
    return answer

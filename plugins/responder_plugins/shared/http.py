"""HTTP for small documents: one connection, read and written by h11, bounded in time and size.

Who may connect is the framework's business (`on_link`, `allow`, `deny`, `max_connections`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import urlsplit

import attrs
import h11
import trio

from responder import Exchange, IPAddress

IDLE: Final = 10.0
"""Seconds for a request to come and its answer to be taken."""

MAX_HEAD: Final = 8192
"""Bytes of a request's head."""

MAX_BODY: Final = 65536
"""Bytes of a request's body."""

MAX_REQUESTS: Final = 32
"""Requests on one connection."""

LINGER: Final = 1.0
"""Seconds for which what a client still sends after its answer is read, so that it sees that (RFC 9112 section 9.6)."""

CHUNK: Final = 4096
"""Bytes read at a time."""


@attrs.frozen
class Request:
    """A request: its method, its path without the query, its media type in small letters, its body, and its query."""

    method: str
    path: str
    media_type: str
    body: bytes
    query: str = ""


@attrs.frozen
class Document:
    """A body with its Content-Type, and other fields of the header."""

    body: bytes
    content_type: str
    fields: tuple[tuple[str, str], ...] = ()


Respond = Callable[[Request], Document | HTTPStatus]
"""A request with one of the allowed methods -> the document, or the error's status."""


def url_host(address: IPAddress) -> str:
    """An address as URLs have it (RFC 3986 section 3.2.2), without a scope, which only its own host would know."""
    return f"[{address}]" if isinstance(address, IPv6Address) else str(address)


async def serve(
    stream: trio.abc.Stream,
    respond: Respond,
    *,
    server: str,
    methods: Collection[str],
    idle: float = IDLE,
    requests: int = MAX_REQUESTS,
) -> None:
    """Answer requests until the client ends, idles, or sends what is no HTTP.

    `server` is the Server field's value.  Where "POST" is among `methods`, bodies are read; others end the connection.
    `idle` has the seconds for a request to come and its answer to be taken.
    """
    session = _Session(stream, respond, server, methods)
    for number in range(requests):
        with trio.move_on_after(idle) as scope:
            if not await session.once(last=number == requests - 1):
                return
        if scope.cancelled_caught:
            return


def describe(exchange: Exchange) -> dict[str, str | int]:
    """What is asked for, and the answer's status, of what was read and written at once."""
    words: dict[str, str | int] = {}
    asked = (exchange.request or b"").lstrip(b"\r\n").partition(b"\n")[0].decode("ascii", "backslashreplace").split()
    if len(asked) == 3:
        words = {"method": asked[0], "path": asked[1]}
    answered = exchange.answers[0][:MAX_HEAD].partition(b"\r\n")[0].split() if exchange.answers else []
    if len(answered) > 1 and answered[0].startswith(b"HTTP/") and answered[1].isdigit():
        words["status"] = int(answered[1])
    return words


class _Refused(Exception):
    """A request that gets an error instead of an answer."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class _Session:
    """One connection.  Each request has an h11 object of its own, since h11 can't skip the empty lines before one."""

    def __init__(self, stream: trio.abc.Stream, respond: Respond, server: str, methods: Collection[str]) -> None:
        self._stream = stream
        self._respond = respond
        self._server = server
        self._methods = methods
        self._pending = b""

    async def once(self, *, last: bool) -> bool:
        """Answer one request; False: there can be no other."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        # RFC 9112 section 2.2: empty lines before a request are ignored.
        while not (start := self._pending.lstrip(b"\r\n")):
            self._pending = await self._receive()
            if not self._pending:
                return False
        connection.receive_data(start)
        try:
            await self._answer(connection, last=last)
        except _Refused as error:
            await self._send(connection, error.status, close=True)
        except h11.RemoteProtocolError as error:
            if connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                await self._send(connection, HTTPStatus(error.error_status_hint), close=True)
        if connection.our_state is h11.MUST_CLOSE and connection.their_state in {h11.SEND_BODY, h11.ERROR}:
            await self._take_rest()
        self._pending = connection.trailing_data[0]
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _take_rest(self) -> None:
        """A connection that is closed with bytes unread is reset by the system, and the client may lose the answer."""
        with trio.move_on_after(LINGER), suppress(trio.BrokenResourceError):
            while await self._receive():
                pass

    async def _answer(self, connection: h11.Connection, *, last: bool) -> None:
        """Raises _Refused and h11.RemoteProtocolError."""
        head = await self._event(connection)
        if not isinstance(head, h11.Request):
            return
        method = head.method.decode("ascii")
        has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in head.headers)
        # A body that nobody wants is not waited for: the connection ends instead.
        wants_body = method == "POST" and method in self._methods
        body = b"" if has_body and not wants_body else await self._body(connection)
        close = last or (has_body and not wants_body)
        if method not in self._methods:
            await self._send(connection, HTTPStatus.METHOD_NOT_ALLOWED, close=close)
            return
        path, query = _target(head)
        answer = self._respond(Request(method, path, _content_type(head), body, query))
        if isinstance(answer, HTTPStatus):
            await self._send(connection, answer, close=close)
        else:
            await self._send(connection, HTTPStatus.OK, answer, head=method == "HEAD", close=close)

    async def _body(self, connection: h11.Connection) -> bytes:
        """Raises _Refused for one that is too long."""
        body = bytearray()
        if connection.they_are_waiting_for_100_continue:
            await self._stream.send_all(connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        while isinstance(event := await self._event(connection), h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return bytes(body)

    async def _event(self, connection: h11.Connection) -> object:
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await self._receive())
        return event

    async def _receive(self) -> bytes:
        return bytes(await self._stream.receive_some(CHUNK))

    async def _send(
        self,
        connection: h11.Connection,
        status: HTTPStatus,
        document: Document | None = None,
        *,
        head: bool = False,
        close: bool,
    ) -> None:
        header = [*fields(status, document, server=self._server, methods=self._methods)]
        if close:
            header.append(("Connection", "close"))
        response = h11.Response(status_code=status, reason=status.phrase, headers=header)
        body = [h11.Data(data=document.body)] if document is not None and document.body and not head else []
        pieces = [response, *body, h11.EndOfMessage()]
        await self._stream.send_all(b"".join(connection.send(piece) or b"" for piece in pieces))


def fields(
    status: HTTPStatus, document: Document | None, *, server: str, methods: Collection[str]
) -> Iterator[tuple[str, str]]:
    """The header of a response."""
    yield "Content-Length", str(0 if document is None else len(document.body))
    yield "Date", formatdate(usegmt=True)
    yield "Server", server
    if document is not None:
        yield "Content-Type", document.content_type
        yield from document.fields
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        yield "Allow", ", ".join(methods)


def _target(request: h11.Request) -> tuple[str, str]:
    """The path and the query that are asked for; the target may be a whole URL (RFC 9112 section 3.2.2).

    A path of "" is none.
    """
    try:
        target = urlsplit(request.target.decode("ascii"))
    except ValueError:
        return "", ""
    return (target.path, target.query) if target.path.startswith("/") else ("", "")


def _content_type(request: h11.Request) -> str:
    return next((media_type(value) for name, value in request.headers if name == b"content-type"), "")


def media_type(value: bytes) -> str:
    """A Content-Type without its parameters (RFC 9110 section 8.3.1), in small letters."""
    return value.decode("latin-1").partition(";")[0].strip().lower()

"""HTTP for descriptions: h11 on one connection, GET and HEAD and nothing else, bounded in time and size.

This file refuses to know what the documents say; to whom they are shown is the framework's business (`on_link`,
`allow`, `deny`, `max_connections`).
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import h11
import trio

IDLE: Final = 10.0
"""Seconds for a request to come and its answer to be taken."""

MAX_REQUEST: Final = 8192
"""Bytes of a request's head."""

MAX_REQUESTS: Final = 32
"""Requests on one connection."""

CHUNK: Final = 4096
"""Bytes read at a time."""

Find = Callable[[str], bytes | None]
"""A path -> the document, or None where there is none."""


async def serve(stream: trio.abc.Stream, find: Find, server: str) -> None:
    """Serve documents until the client ends, idles, or says what is no HTTP.  `server` is the SERVER header."""
    talk = _Talk(stream, h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST), server)
    for number in range(MAX_REQUESTS):
        with trio.move_on_after(IDLE) as idle:
            try:
                again = await talk.once(find, last=number == MAX_REQUESTS - 1)
            except h11.RemoteProtocolError as error:
                await talk.complain(error.error_status_hint)
                return
            if not again:
                return
        if idle.cancelled_caught:
            return
        talk.connection.start_next_cycle()


class _Talk:
    """One connection."""

    def __init__(self, stream: trio.abc.Stream, connection: h11.Connection, server: str) -> None:
        self.connection = connection
        self._stream = stream
        self._server = server

    async def once(self, find: Find, *, last: bool) -> bool:
        """Answer one request; False: there can be no other.  Raises h11.RemoteProtocolError."""
        request = await self._event()
        if not isinstance(request, h11.Request):
            return False
        # A body is of no use here, so it is not waited for, and the connection ends instead.
        has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in request.headers)
        if not has_body:
            await self._event()
        method = request.method
        body = find(_path(request)) if method in (b"GET", b"HEAD") else None
        if body is not None:
            await self._answer(HTTPStatus.OK, body, head=method == b"HEAD", close=last or has_body)
        elif method in (b"GET", b"HEAD"):
            await self._answer(HTTPStatus.NOT_FOUND, b"", head=False, close=last or has_body)
        else:
            await self._answer(HTTPStatus.METHOD_NOT_ALLOWED, b"", head=False, close=last or has_body)
        return self.connection.our_state is h11.DONE and self.connection.their_state is h11.DONE

    async def complain(self, status: int) -> None:
        """Say what is wrong with the request, where an answer is still possible."""
        if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            with trio.move_on_after(IDLE):
                await self._answer(HTTPStatus(status), b"", head=False, close=True)

    async def _event(self) -> object:
        while (event := self.connection.next_event()) is h11.NEED_DATA:
            self.connection.receive_data(bytes(await self._stream.receive_some(CHUNK)))
        return event

    async def _answer(self, status: HTTPStatus, body: bytes, *, head: bool, close: bool) -> None:
        headers = [
            ("Content-Length", str(len(body))),
            ("Date", formatdate(usegmt=True)),
            ("Server", self._server),
        ]
        if body:
            headers.append(("Content-Type", 'text/xml; charset="utf-8"'))  # UDA 2.0 section 2.11
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "GET, HEAD"))
        if close:
            headers.append(("Connection", "close"))
        response = h11.Response(status_code=status, reason=status.phrase, headers=headers)
        pieces = [response, *([h11.Data(data=body)] if body and not head else []), h11.EndOfMessage()]
        await self._stream.send_all(b"".join(self.connection.send(piece) or b"" for piece in pieces))


def _path(request: h11.Request) -> str:
    """The path that is asked for; the target may be a whole URL (RFC 9112 section 3.2.2).  "" for what is none."""
    try:
        return urlsplit(request.target.decode("ascii")).path
    except ValueError:
        return ""

"""HTTP/2 (RFC 9113) for small requests and answers: one connection, by the library h2.

Each request is answered as soon as it is whole, so that what is open is a request that still comes, or an answer that
the peer has no window for.  Bounds: the streams at a time, the bytes of requests that still come (the connection's
window is not opened again before they are whole), the bytes of answers that wait, and the seconds within which the
next request must be whole or a part of an answer be taken.  The windows hold the longest body and one byte more: who
has sent that, or says that it will, is refused without waiting for the rest, and told to stop (RFC 9113 section 8.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import attrs
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio

from responder_plugins.shared import http

from .https import METHODS, SERVER

STREAMS: Final = 100
"""At a time: not fewer, says RFC 9113 section 6.5.2."""

WAITING: Final = 2**18
"""Bytes of answers that the peer has no window for; beyond, requests are refused."""

CHUNK: Final = 4096
"""Bytes read at a time: some 400 requests at most."""

HEARD: Final = 0.5
"""Seconds from the refusal of a request until its stream is reset: curl 7.88 misses an answer that a reset follows."""

WINDOW: Final = http.MAX_BODY + 1

_SETTINGS: Final = {
    h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
    h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS,
    h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: http.MAX_HEAD,
    h2.settings.SettingCodes.ENABLE_PUSH: 0,
}


@attrs.define(eq=False)
class _Coming:
    """A request that is not whole yet; `window` counts what it has taken of the connection's."""

    head: dict[bytes, bytes]
    body: bytearray = attrs.field(factory=bytearray)
    window: int = 0


class Http2:
    """Serves one connection.  idle: seconds."""

    def __init__(self, stream: trio.abc.Stream, respond: http.Respond, idle: float) -> None:
        self._stream = stream
        self._respond = respond
        self._idle = idle
        self._deadline = trio.current_time() + idle
        self._coming: dict[int, _Coming] = {}
        self._refused: dict[int, float] = {}
        self._waiting: dict[int, memoryview] = {}
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self._h2.local_settings = h2.settings.Settings(client=False, initial_values=_SETTINGS)

    async def serve(self) -> None:
        """Serve until the peer closes, breaks the protocol, or is idle for too long."""
        self._h2.initiate_connection()
        self._open_window(WINDOW - self._h2.inbound_flow_control_window)
        while await self._flush():
            data: bytes | bytearray = b""
            reset_at = next(iter(self._refused.values()), self._deadline)
            with trio.move_on_at(min(reset_at, self._deadline)) as scope:
                data = await self._stream.receive_some(CHUNK)
            if scope.cancelled_caught and reset_at < self._deadline:
                self._reset_first()
                continue
            if not data:
                break
            try:
                events = self._h2.receive_data(bytes(data))
            except h2.exceptions.ProtocolError:
                await self._flush()  # h2 has a GOAWAY for it
                return
            if not self._take(events):
                return
        self._h2.close_connection()
        await self._flush()

    async def _flush(self) -> bool:
        """Send what is to be sent; False: the peer takes nothing for the idle time."""
        for stream in tuple(self._waiting):
            self._send_some(stream)
        data = self._h2.data_to_send()
        if data:
            with trio.move_on_after(self._idle) as scope:
                await self._stream.send_all(data)
            return not scope.cancelled_caught
        await trio.lowlevel.checkpoint()
        return True

    def _take(self, events: Iterable[h2.events.Event]) -> bool:
        """False: the peer says goodbye."""
        for event in events:
            match event:
                case h2.events.RequestReceived(stream_id=int(stream), headers=headers):
                    head = {bytes(name): bytes(value) for name, value in headers or ()}
                    self._coming[stream] = _Coming(head)
                    if int(head.get(b"content-length", 0)) > http.MAX_BODY:  # h2 has looked that it is a number
                        self._refuse(stream)
                case h2.events.DataReceived(stream_id=int(stream)):
                    self._add(stream, event.data or b"", event.flow_controlled_length or 0)
                case h2.events.StreamEnded(stream_id=int(stream)):
                    self._refused.pop(stream, None)
                    self._answer(stream)
                case h2.events.StreamReset(stream_id=int(stream)):
                    self._forget(stream)
                    self._refused.pop(stream, None)
                    self._waiting.pop(stream, None)
                case h2.events.ConnectionTerminated():
                    return False
        return True

    def _add(self, stream: int, data: bytes, window: int) -> None:
        coming = self._coming.get(stream)
        if coming is None:  # it was refused
            self._open_window(window)
            return
        coming.window += window
        coming.body += data
        if len(coming.body) > http.MAX_BODY:
            self._refuse(stream)

    def _refuse(self, stream: int) -> None:
        """Of a request that is too long no more is wanted, and its own window stays as it is."""
        self._deadline = trio.current_time() + self._idle
        self._refused[stream] = trio.current_time() + HEARD
        self._open_window(self._coming.pop(stream).window)
        self._send(stream, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, is_head=False)

    def _reset_first(self) -> None:
        stream = next(iter(self._refused))
        del self._refused[stream]
        self._h2.reset_stream(stream, h2.errors.ErrorCodes.NO_ERROR)

    def _open_window(self, size: int) -> None:
        """Of the connection."""
        if size:
            self._h2.increment_flow_control_window(size)

    def _forget(self, stream: int) -> _Coming | None:
        coming = self._coming.pop(stream, None)
        if coming is not None and coming.window:
            self._h2.acknowledge_received_data(coming.window, stream)
        return coming

    def _answer(self, stream: int) -> None:
        coming = self._forget(stream)
        if coming is None:
            return
        self._deadline = trio.current_time() + self._idle
        request = _request(coming)
        answer: http.Document | HTTPStatus
        if request is None:
            answer = HTTPStatus.BAD_REQUEST
        elif request.method not in METHODS:
            answer = HTTPStatus.METHOD_NOT_ALLOWED
        elif sum(map(len, self._waiting.values())) > WAITING:
            answer = HTTPStatus.SERVICE_UNAVAILABLE
        else:
            answer = self._respond(request)
        self._send(stream, answer, is_head=request is not None and request.method == "HEAD")

    def _send(self, stream: int, answer: http.Document | HTTPStatus, *, is_head: bool) -> None:
        document = answer if isinstance(answer, http.Document) else None
        status = answer if isinstance(answer, HTTPStatus) else HTTPStatus.OK
        body = b"" if document is None or is_head else document.body
        fields = [(":status", str(status.value)), *http.fields(status, document, server=SERVER, methods=METHODS)]
        lower = [(name.lower(), value) for name, value in fields]
        try:
            self._h2.send_headers(stream, lower, end_stream=not body)
        except h2.exceptions.ProtocolError:  # reset by the same bytes that asked
            return
        if body:
            self._waiting[stream] = memoryview(body)

    def _send_some(self, stream: int) -> None:
        """As much of an answer as the peer has a window for."""
        rest = self._waiting[stream]
        try:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            while rest and room > 0:
                part, rest = rest[:room], rest[room:]
                self._h2.send_data(stream, bytes(part), end_stream=not rest)
                self._deadline = trio.current_time() + self._idle
                room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
        except h2.exceptions.ProtocolError:
            rest = memoryview(b"")
        if rest:
            self._waiting[stream] = rest
        else:
            del self._waiting[stream]


def _request(coming: _Coming) -> http.Request | None:
    """The request of a stream; None where its headers make no request."""
    try:
        path = coming.head.get(b":path", b"").decode("ascii")
        method = coming.head.get(b":method", b"").decode("ascii")
        target = urlsplit(path)
    except ValueError:
        return None
    media_type = http.media_type(coming.head.get(b"content-type", b""))
    return http.Request(method, target.path, media_type, bytes(coming.body), target.query)

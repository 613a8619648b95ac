"""The daemon seen by HTTP: metrics for Prometheus, health for whoever watches over it, a page for people.

    GET /metrics  counters and gauges in Prometheus's text form
    GET /health   200 while the event loop runs
    GET /ready    503 with a line for each reason why requests may go unanswered, or 200, with what plugins say of
                  themselves (`Handler.notes`) below
    GET /         what the daemon does at the moment (`responder.daemon.page`), where `metrics_page` allows it

Each connection has one request, and all is bounded: connections, bytes, time, how often there is anything to do.  Where
all places are taken, a new connection takes that of the one that has been silent for longest, so that idle ones keep
nobody out.

Everything else is refused: other paths (404), other methods (405), names that are not this host's (421), what is no
HTTP (400), TLS.  Whoever may not read this must not reach it: bind it to a loopback or management address.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from ipaddress import ip_address
from typing import Final

import attrs
import h11
import trio

from ..config.endpoint import Endpoint
from ..dispatch.connections import Connections
from ..dispatch.failures import only_the_peer
from ..errors import ThreadUnavailable
from ..log import Repeated, get_logger
from ..net.types import Accepted, Platform
from ..server.lasting_listener import LastingListener
from ..threads import in_thread
from .paced import Paced
from .page import Page
from .prometheus import PROMETHEUS_TEXT, render
from .status import Status

MAX_CONNECTIONS = 16

MAX_HEADERS = 8192
"""Bytes of a request's line and headers."""

HEAD_PATIENCE = 1.0
"""Seconds that a client has to ask."""

PATIENCE = 5.0
"""Seconds for making the answer, and again for the client to read it."""

ACCEPT_PAUSE = 0.005
STATUS_PAUSE = 0.05
"""Seconds between two connections, and two readings: a flood of either costs a small part of the daemon's time."""

DRAIN = 0.5
"""Seconds to wait for the client to close: what it has yet to read of the answer is lost by a reset."""

TEXT: Final = "text/plain; charset=utf-8"

_log = get_logger(__name__)


def open_exporter(platform: Platform, endpoint: Endpoint) -> LastingListener:
    """Bind.  Raises BindError, which names the port and, where that can be told, who has it."""
    return LastingListener(lambda number: platform.open_tcp(number, endpoint.address), endpoint.port)


async def serve_exporter(
    listener: LastingListener,
    take: Callable[[], Status | Awaitable[Status]],
    names: Collection[str] = (),
    page: Page | None = None,
) -> None:
    """Answer until cancelled; the listener is closed at the end.

    `take` gives the status of the moment; `names` are those that clients may call this host by.
    """
    exporter = _Exporter(Paced(take, STATUS_PAUSE), frozenset(map(_folded, names)), page)
    try:
        async with trio.open_nursery() as nursery:
            while True:
                accepted = await listener.accept()
                nursery.start_soon(exporter.serve, accepted)
                await trio.sleep(ACCEPT_PAUSE)
    finally:
        listener.close()


@attrs.frozen
class _Answer:
    status: int
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen(eq=False)
class _Exporter:
    _take: Paced[Status]
    _names: frozenset[str]
    _page: Page | None
    _repeated: Repeated = attrs.field(factory=Repeated)
    _connections: Connections = attrs.field(factory=Connections)

    async def serve(self, accepted: Accepted) -> None:
        """One connection, to its end."""
        try:
            with self._connections.place(accepted.stream, accepted.flow, MAX_CONNECTIONS) as place:
                await self._converse(place.stream)
        except Exception as error:  # of one connection, which must not end the others
            held_back = None if only_the_peer(error) else self._repeated.due(type(error).__name__)
            if held_back is not None:
                _log.error("a metrics request failed", exc_info=error, held_back=held_back)
        finally:
            await trio.aclose_forcefully(accepted.stream)

    async def _converse(self, stream: trio.abc.HalfCloseableStream) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADERS)
        answer = None
        try:
            request = await self._head(http, stream)
        except h11.RemoteProtocolError as error:
            answer = _Answer(error.error_status_hint, b"bad request\n")
        else:
            if request is None:
                return
            with trio.move_on_after(PATIENCE):
                try:
                    answer = await self._answer(request)
                except ThreadUnavailable as error:
                    answer = _Answer(503, f"{error}\n".encode())
        if answer is None or http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        with trio.move_on_after(PATIENCE):
            await stream.send_all(_encode(http, answer))
            await stream.send_eof()
            with trio.move_on_after(DRAIN):
                while await stream.receive_some(MAX_HEADERS):
                    pass

    async def _head(self, http: h11.Connection, stream: trio.abc.HalfCloseableStream) -> h11.Request | None:
        """None where the client left without a request, or is slow.  Raises h11.RemoteProtocolError."""
        with trio.move_on_after(HEAD_PATIENCE):
            return await _request(http, stream)
        return None

    async def _answer(self, request: h11.Request) -> _Answer:
        if request.method != b"GET":  # first, and without a body, which no answer to HEAD may have
            return _Answer(405, b"", headers=(("allow", "GET"),))
        if not self._is_ours(request):
            return _Answer(421, b"ask by an address, as localhost, or by one of metrics_names\n")
        path, _, query = request.target.decode("ascii", "replace").partition("?")
        if self._page is not None and path in self._page.paths:
            content = await self._page.content(path, query, self._take)
            return _Answer(200, content.body, content.type, content.headers)
        if path not in {"/metrics", "/health", "/ready"}:
            return _Answer(404, b"there are /metrics, /health and /ready\n")
        if path == "/health":
            return _Answer(200, b"alive\n")
        status = await self._take()
        if path == "/ready":
            reasons = status.not_ready()
            lines = reasons or ["ready", *(f"{each.name}: {note}" for each in status.instances for note in each.notes)]
            return _Answer(503 if reasons else 200, "".join(f"{line}\n" for line in lines).encode(errors="replace"))
        # In a thread: many interfaces make a long text, and the loop has datagrams to answer.
        body = await in_thread(render, status)
        return _Answer(200, body, PROMETHEUS_TEXT)

    def _is_ours(self, request: h11.Request) -> bool:
        """Is it asked of an address, or of a name of ours?

        A page in a browser can have a name of its own lead here (DNS rebinding), and read what is answered.
        """
        host = next((value.decode("ascii", "replace") for name, value in request.headers if name == b"host"), None)
        if host is None:  # HTTP/1.0, which browsers don't speak
            return True
        name = _folded(_PORT.sub("", host))
        try:
            ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return name == "localhost" or name in self._names
        return True


_PORT: Final = re.compile(r":[0-9]*\Z")


def _folded(name: str) -> str:
    return name.lower().removesuffix(".")


async def _request(http: h11.Connection, stream: trio.abc.HalfCloseableStream) -> h11.Request | None:
    """The request's head; None where the client left without one.  Raises h11.RemoteProtocolError."""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(MAX_HEADERS)))
        else:
            return event if isinstance(event, h11.Request) else None


def _encode(http: h11.Connection, answer: _Answer) -> bytes:
    headers = [
        ("content-type", answer.content_type),
        ("content-length", str(len(answer.body))),
        ("connection", "close"),
        *answer.headers,
    ]
    parts = (
        http.send(h11.Response(status_code=answer.status, headers=headers)),
        http.send(h11.Data(data=answer.body)),
        http.send(h11.EndOfMessage()),
    )
    return b"".join(part or b"" for part in parts)

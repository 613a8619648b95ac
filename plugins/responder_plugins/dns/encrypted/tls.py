"""Accepts TLS on a connection, and serves DNS on what is within: messages behind their length, or HTTP.

A handshake must be done within the idle time.  One that fails, or never ends, is counted, and that is all; by the first
the peer gets an alert.  The peer may always ask what it may ask by TCP; a zone is handed over by TLS 1.3 only (RFC 9103
section 7.2).
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import trio

from responder import Connection
from responder_plugins.shared import http

from ...shared.threads import in_thread
from ..options import HTTPS
from ..tcp import TcpServer
from .alerts import Alerting
from .certificate import Renewed
from .https import METHODS, SERVER, Queries

REQUESTS: Final = 2**16
"""Requests on one connection of HTTP/1.1: its time is what bounds it."""


@attrs.define(eq=False)
class TlsServer:
    """Serves these services of DNS within TLS, by a context each; `tcp` has the bounds."""

    tcp: TcpServer
    services: Sequence[str]
    certificate: Renewed[Mapping[str, ssl.SSLContext]]
    counts: Counter[str] = attrs.field(factory=Counter, init=False)

    async def watch(self, every: float) -> None:
        """Look at the certificate's files every so many seconds."""
        while True:
            await trio.sleep(every)
            await in_thread(self.certificate.look)

    async def converse(self, connection: Connection) -> None:
        """Serve a connection until it ends."""
        secure = Alerting(connection.stream, self.certificate.made[connection.service], server_side=True)
        try:
            await self._converse(connection, secure.stream)
        finally:
            await secure.alert()

    async def _converse(self, connection: Connection, stream: trio.SSLStream[trio.abc.HalfCloseableStream]) -> None:
        with trio.move_on_after(self.tcp.idle) as handshake:
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError:
                self.counts["tls-failed"] += 1
                return
        if handshake.cancelled_caught:
            self.counts["tls-unfinished"] += 1
            return
        if connection.service == HTTPS:
            await self._serve_http(connection, stream)
        else:
            await self.tcp.converse(connection, stream, may_transfer=stream.version() == "TLSv1.3")
        with trio.move_on_after(self.tcp.idle):
            await stream.aclose()  # tells the peer that nothing is missing

    async def _serve_http(self, connection: Connection, stream: trio.SSLStream[trio.abc.HalfCloseableStream]) -> None:
        queries = Queries(self.tcp.processor, connection, self.counts)
        with trio.move_on_after(self.tcp.total):
            if stream.selected_alpn_protocol() == "h2":
                from .http2 import Http2  # noqa: PLC0415 - the library is an extra

                await Http2(stream, queries.respond, self.tcp.idle).serve()
            else:
                await http.serve(
                    stream, queries.respond, server=SERVER, methods=METHODS, idle=self.tcp.idle, requests=REQUESTS
                )

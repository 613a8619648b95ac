"""A client of DNS within TLS, in memory."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing
from responder_plugins.dns import Tls
from responder_plugins.dns.handler import DnsHandler

from responder import Connection, Peer
from responder.dispatch.failures import only_the_peer
from tests.plugins.dns.certificates import Authority
from tests.plugins.dns.support import LINK, ZONE, handler_of

NAME = "ns.example.test"


def tls_handler(folder: Path, **options: Any) -> DnsHandler:
    """A handler of example.test.zone, with a certificate of `Authority(folder)`."""
    if not (folder / "server.pem").exists():
        Authority(folder).issue()
    options.setdefault("zones", {"example.test": ZONE})
    return handler_of(folder, tls=Tls(Path("server.pem"), Path("server.key")), **options)


def connection(stream: trio.abc.HalfCloseableStream, service: str, peer: str = "10.71.0.9") -> Connection:
    return Connection(
        stream=stream,
        peer=Peer(peer, 40000),
        destination=LINK.addresses[0].address,
        interface=LINK,
        service=service,
        port=853,
        arrival=0.0,
    )


@asynccontextmanager
async def raw(handler: DnsHandler, service: str) -> AsyncIterator[trio.StapledStream[Any, Any]]:
    """A connection that is served, and closed as the framework does it."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def serve() -> None:
        try:
            await handler.converse(connection(theirs, service))
        except BaseException as error:
            if not only_the_peer(error):
                raise
        await trio.aclose_forcefully(theirs)

    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield ours
            await trio.aclose_forcefully(ours)


@asynccontextmanager
async def secured(
    handler: DnsHandler,
    service: str,
    folder: Path,
    *,
    protocols: Sequence[str] = ("dot",),
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> AsyncIterator[trio.SSLStream[Any]]:
    """The same within TLS, by a client that trusts the authority of `folder`."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.set_alpn_protocols(list(protocols))
    context.maximum_version = newest
    async with raw(handler, service) as transport:
        stream = trio.SSLStream(transport, context, server_hostname=NAME, https_compatible=False)
        await stream.do_handshake()
        yield stream

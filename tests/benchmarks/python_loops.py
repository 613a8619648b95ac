"""Echo servers as people write them in Python, each as short as its library allows: the peers of the echo rows.

    python -m tests.benchmarks.python_loops blocking|pktinfo|trio|asyncio|uvloop PORT

Each serves IPv4 on the wildcard address, says {"event": "ready"} on stderr, and goes on until it is ended.  They answer
everyone and count nothing; all but `pktinfo` choose no source.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import trio

SIZE = 65536
IP_PKTINFO = 8  # Linux's; `socket` has it since Python 3.14


def bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", port))
    return sock


def ready() -> None:
    print('{"event": "ready"}', file=sys.stderr, flush=True)


def blocking(port: int) -> None:
    sock = bound(port)
    receive, send = sock.recvfrom, sock.sendto
    ready()
    while True:
        payload, peer = receive(SIZE)
        send(payload, peer)


def pktinfo(port: int) -> None:
    """The least that gives the right source: one recvmsg and one sendmsg, and what came is sent back as it is."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    sock.bind(("::", port))
    receive, send = sock.recvmsg, sock.sendmsg
    ready()
    while True:
        payload, control, _flags, peer = receive(SIZE, 64)
        send((payload,), control, 0, peer)


async def in_trio(port: int) -> None:
    sock = trio.socket.from_stdlib_socket(bound(port))
    ready()
    while True:
        payload, peer = await sock.recvfrom(SIZE)
        await sock.sendto(payload, peer)


class EchoProtocol(asyncio.DatagramProtocol):
    """asyncio's and uvloop's."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # as asyncio documents it
        self.send = transport.sendto

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.send(data, addr)


async def in_asyncio(port: int) -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(EchoProtocol, sock=nonblocking(port))
    ready()
    await asyncio.Event().wait()


def nonblocking(port: int) -> socket.socket:
    sock = bound(port)
    sock.setblocking(False)
    return sock


def main(kind: str, port: int) -> None:
    if kind == "blocking":
        blocking(port)
    elif kind == "pktinfo":
        pktinfo(port)
    elif kind == "trio":
        trio.run(in_trio, port)
    elif kind == "asyncio":
        asyncio.run(in_asyncio(port))
    elif kind == "uvloop":
        import uvloop  # noqa: PLC0415 - only this kind needs it

        uvloop.run(in_asyncio(port))
    else:
        raise SystemExit(f"no such kind: {kind}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

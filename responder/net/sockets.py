"""What each platform does with the operating system's sockets in the same way: wait for one of several, and close."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import trio


async def wait_readable(socks: Sequence[socket.socket]) -> None:
    """Return once one of them is readable.  A checkpoint.  Raises trio.ClosedResourceError where one is closed."""
    if any(sock.fileno() == -1 for sock in socks):
        raise trio.ClosedResourceError
    if len(socks) == 1:
        await trio.lowlevel.wait_readable(socks[0])
        return
    closed = False

    async def wait(sock: socket.socket) -> None:
        nonlocal closed
        try:
            await trio.lowlevel.wait_readable(sock)
        except trio.ClosedResourceError:
            closed = True
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for sock in socks:
            nursery.start_soon(wait, sock)
    if closed:
        raise trio.ClosedResourceError


def close(sock: socket.socket) -> None:
    """Close a socket; tasks that wait for it get trio.ClosedResourceError.  Twice is no error, nor is no event loop."""
    if sock.fileno() != -1 and trio.lowlevel.in_trio_run():
        trio.lowlevel.notify_closing(sock)
    sock.close()

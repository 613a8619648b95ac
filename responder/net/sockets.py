"""What each platform does with sockets in the same way: wait for one, or for one of several, send one by one, close."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import attrs
import trio

from ..errors import NetworkError, SendError, SendRefused
from ..log import Repeated, get_logger
from .types import Message

SHORTAGE_PAUSE = 0.1
"""Seconds to pause where the system has no memory to wait for a socket."""

_SHORTAGE = frozenset({errno.ENOMEM, errno.ENOSPC, errno.ENOBUFS})

_log = get_logger(__name__)


@attrs.define(eq=False)
class FailedWaits:
    """The waits for a socket that failed for want of memory (epoll_ctl(2), kevent(2)), and are tried again.

    That passes, and the kernel keeps meanwhile what comes.  `name` is the socket's in messages; `count` is how many
    there were.
    """

    name: str
    count: int = 0
    _repeated: Repeated = attrs.field(factory=Repeated)

    async def wait_out(self, error: OSError) -> None:
        """Count and log it, and pause.  Raises NetworkError where memory is not what is short."""
        if isinstance(error, NetworkError):
            raise error
        reason = error.strerror or str(error)
        if error.errno not in _SHORTAGE:
            raise NetworkError(error.errno or errno.EIO, f"{self.name} can't be waited for: {reason}") from error
        self.count += 1
        held_back = self._repeated.due(error.errno)
        if held_back is not None:
            _log.warning("a wait failed, and is tried again", name=self.name, reason=reason, held_back=held_back)
        await trio.sleep(SHORTAGE_PAUSE)

    async def outlast(self, wait: Callable[[socket.socket], Awaitable[object]], sock: socket.socket) -> None:
        """`trio.lowlevel.wait_readable` or `wait_writable`, until it succeeds.  A checkpoint, but where it raises.

        Raises trio.ClosedResourceError, and NetworkError as `wait_out`.
        """
        while sock.fileno() != -1:
            try:
                await wait(sock)
            except OSError as error:
                await self.wait_out(error)
            else:
                return
        raise trio.ClosedResourceError


async def wait_readable(socks: Sequence[socket.socket]) -> None:
    """Return once one of them is readable.  A checkpoint, but where it raises.

    Raises trio.ClosedResourceError where one is closed, and OSError: the event loop may be short of memory, and on
    Windows it has to ask the system about each socket.
    """
    if any(sock.fileno() == -1 for sock in socks):
        raise trio.ClosedResourceError
    if len(socks) == 1:
        await trio.lowlevel.wait_readable(socks[0])
        return
    errors: list[Exception] = []

    async def wait(sock: socket.socket) -> None:
        try:
            await trio.lowlevel.wait_readable(sock)
        except (trio.ClosedResourceError, OSError) as error:
            errors.append(error)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for sock in socks:
            nursery.start_soon(wait, sock)
    if errors:
        raise errors[0]


def send_each(send: Callable[[Message], object], batch: Sequence[Message]) -> int:
    """See `responder.net.types.DatagramSocket.send`.  `send` gives 0 where there is no room, and raises SendError."""
    for sent, message in enumerate(batch):
        try:
            if not send(message):
                return sent
        except SendError:
            if sent:
                return sent
            raise
    return len(batch)


async def send_in_turn(sock: socket.socket, turn: trio.Lock, send: Callable[[], object]) -> None:
    """Wait until the socket has room, and `send`; again where others took the room.  `send` gives 0 where it has none.

    `turn` is the socket's: trio allows one waiter a direction.  Raises trio.ClosedResourceError, as `send` does, and
    SendRefused where the system can't wait now (see `wait_readable`).
    """
    while True:
        async with turn:
            if sock.fileno() == -1:
                raise trio.ClosedResourceError
            try:
                await trio.lowlevel.wait_writable(sock)
            except OSError as error:
                what = f"can't wait for room to send: {error.strerror or error}"
                raise SendRefused(error.errno or errno.EIO, what) from error
        if send():
            return


def close(sock: socket.socket) -> None:
    """Close a socket; tasks that wait for it get trio.ClosedResourceError.  Twice is no error, nor is no event loop.

    Nor is a descriptor that is no socket any more.  That is not closed: by now it may be another's file.
    """
    if sock.fileno() == -1:
        return
    if trio.lowlevel.in_trio_run():
        with suppress(OSError):  # on Windows trio asks the system about the socket
            trio.lowlevel.notify_closing(sock)
    try:
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    except OSError:
        sock.detach()
    else:
        sock.close()

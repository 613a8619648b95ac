"""Sockets handed from one of our processes to another, over a Unix socket pair (SCM_RIGHTS, unix(7)).

The parent of workers opens each port for all of them (`Shares`) and gives each worker its socket.  The pair carries
nothing else than sockets, each beside one byte that says what it is: a port, or a connection to talk by.  Its end tells
each side that the other has died.

`responder.daemon.workers` starts the processes and says what they tell each other on connections.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import attrs
import trio

from ..datagram import IPAddress
from ..errors import BindError, ConfigError
from ..threads import start
from . import sockets
from .inherited import Inherited
from .types import Platform

_PORT: Final = b"p"
_CONNECTION: Final = b"c"
_ROOM = socket.CMSG_SPACE(16 * 4) if hasattr(socket, "CMSG_SPACE") else 0
"""Bytes of control messages: one descriptor comes at a time, and a few more do no harm."""


@attrs.frozen(eq=False)
class Shares:
    """A port that several processes serve: a UDP socket for each or none, and one TCP listener at which all accept."""

    port: int
    sockets: tuple[socket.socket, ...]
    listener: socket.socket | None

    def all(self) -> list[socket.socket]:
        return [*self.sockets, *([] if self.listener is None else [self.listener])]

    def with_(self, more: Shares) -> Shares:
        """These, and what they lack."""
        return Shares(self.port, self.sockets or more.sockets, self.listener or more.listener)

    def only(self, *, udp: bool, tcp: bool) -> Shares:
        return Shares(self.port, self.sockets if udp else (), self.listener if tcp else None)

    def close(self) -> None:
        """Those handed over live on."""
        for sock in self.all():
            sock.close()


class SharingPlatform(Platform, Protocol):
    """A platform whose kernel divides the datagrams of one port among several sockets."""

    def open_shares(
        self,
        count: int,
        port: int,
        address: IPAddress | None = None,
        *,
        interface: int = 0,
        tcp: bool = False,
        beside_own: bool = False,
    ) -> Shares:
        """Open, set up and bind `count` UDP sockets, and a listener where `tcp`; otherwise as `Platform.open_udp`.

        No other program may have the port; `beside_own`: sockets of ours, on other addresses, may.  Raises BindError.
        """


def sharing_platform() -> SharingPlatform:
    """This machine's.  Raises ConfigError, which says why, where it can't divide a port among processes."""
    if sys.platform == "linux":
        from .linux.platform import LinuxPlatform  # noqa: PLC0415 - exists on Linux only

        return LinuxPlatform()
    raise ConfigError(why_not_shared(), path="daemon.workers")


def why_not_shared() -> str:
    """Why this platform can't divide a port among processes; empty where it can."""
    if sys.platform == "linux":
        return ""
    if sys.platform == "win32":
        return "not on Windows, which gives each datagram of a shared port to one socket: leave it out"
    return f"not on {sys.platform}: only Linux is known to divide a port among processes (SO_REUSEPORT); leave it out"


class Handed(Inherited):
    """Ports that the parent opened for this process, to be claimed by their place; no other may be bound.

    They come in sets, one for each configuration: the next one is claimed from first, and takes the place of the last
    one (`use_next`) or is dropped (`drop_next`).
    """

    def __init__(self) -> None:
        super().__init__()
        self._coming: list[socket.socket] = []

    def add(self, sock: socket.socket) -> None:
        """Take one more socket into the set that `use_next` will put in force."""
        self._coming.append(sock)

    def use_next(self) -> None:
        """Forget the last set.  What was claimed of it lives on."""
        old, new = tuple(self._sockets), self._coming
        self._coming = []
        self._sockets = tuple(new)
        self._unclaimed = list(new)
        _close(old)

    def drop_next(self) -> None:
        coming, self._coming = self._coming, []
        _close(coming)

    def _bound(self) -> Iterable[socket.socket]:
        return (*self._coming, *self._sockets)

    def claim(self, kind: int, port: int, address: IPAddress | None, interface: int) -> socket.socket | None:
        """See `Inherited.claim`.  None only for port 0, as a conversation's: the system then chooses one."""
        found = super().claim(kind, port, address, interface)
        if found is None and port:
            raise BindError(
                errno.ENOENT, f"port {port}: not handed over: the configuration changed while it was read", port=port
            )
        return found

    def close(self) -> None:
        self.drop_next()
        super().close()


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


class Giver:
    """The parent's end.  Made by `pair`."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._turn = trio.Lock()  # trio allows one waiter a direction
        self._failed_waits = sockets.FailedWaits("the way to a worker")

    async def give(self, shares: Shares, number: int) -> None:
        """Hand over the socket with that number, and the port's listener, as far as there are any.

        Raises trio.BrokenResourceError where the other process has ended.
        """
        if shares.sockets:
            await self._send(_PORT, shares.sockets[number])
        if shares.listener is not None:
            await self._send(_PORT, shares.listener)

    async def connect(self) -> trio.SocketStream:
        """Open a connection to the other process, which accepts it later.  Raises BrokenResourceError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                await self._send(_CONNECTION, theirs)
        except BaseException:
            ours.close()
            raise
        return trio.SocketStream(trio.socket.from_stdlib_socket(ours))

    async def _send(self, what: bytes, sock: socket.socket) -> None:
        if sys.platform == "win32":
            raise NotImplementedError  # `sharing_platform` has refused before
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, sock.fileno().to_bytes(4, sys.byteorder))]
        async with self._turn:
            while True:
                if self._socket.fileno() == -1:
                    raise trio.BrokenResourceError
                try:
                    await self._failed_waits.outlast(trio.lowlevel.wait_writable, self._socket)
                    self._socket.sendmsg([what], rights)
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise trio.BrokenResourceError from error
                return

    async def ended(self) -> None:
        """Wait until the other process has ended."""
        while self._socket.fileno() != -1:
            try:
                await self._failed_waits.outlast(trio.lowlevel.wait_readable, self._socket)
                if not self._socket.recv(1):
                    return
            except BlockingIOError:
                continue
            except OSError:
                return

    def finish(self) -> None:
        """Tell the other process to end."""
        with contextlib.suppress(OSError):  # it has ended
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        sockets.close(self._socket)


class Recipient:
    """The worker's end: it puts ports into `handed`, and is the `Listener` of the worker's `responder.daemon.control`.

    Takes the descriptor that the process was started with.  `ended` is set once the parent has ended, or wants this
    process to.
    """

    def __init__(self, descriptor: int, handed: Handed) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._socket.setblocking(False)
        self._handed = handed
        self._failed_waits = sockets.FailedWaits("the way to the parent")
        self.ended = trio.Event()

    async def accept(self) -> trio.SocketStream:
        """Wait for the next connection; for ever, once the supervising process has ended."""
        while True:
            if self.ended.is_set():
                await trio.sleep_forever()
            await self._failed_waits.outlast(trio.lowlevel.wait_readable, self._socket)
            what, sock = self._receive()
            if what == _CONNECTION and sock is not None:
                return trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            if what == _PORT and sock is not None:
                self._handed.add(sock)

    async def admit(self, _stream: trio.SocketStream) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    def _receive(self) -> tuple[bytes, socket.socket | None]:
        if sys.platform == "win32":
            raise NotImplementedError  # nobody starts one there
        try:
            # A read ends behind each byte that brings a descriptor (unix(7)), so that they can't be mixed up.
            what, control, _, _ = self._socket.recvmsg(1, _ROOM, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
        except BlockingIOError:
            return b"", None
        except OSError:
            what, control = b"", []
        if not what:
            self.ended.set()
            return b"", None
        for level, kind, data in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                return what, socket.socket(fileno=int.from_bytes(data[:4], sys.byteorder))
        return b"", None  # no descriptor was free for it

    def close(self) -> None:
        sockets.close(self._socket)

    def end_with_parent(self, patience: Callable[[], float]) -> None:
        """From now on this process outlives its parent by `patience` seconds at most.

        By a thread, which is not held up by a plugin that holds the event loop up.  Raises ThreadUnavailable.
        """
        if sys.platform != "win32":
            watch = select.poll()
            watch.register(self._socket, 0)  # POLLHUP, which is always told

            def wait() -> None:
                watch.poll()
                time.sleep(patience())
                os._exit(1)

            start(threading.Thread(target=wait, name="ends with its parent", daemon=True))


def pair() -> tuple[Giver, socket.socket]:
    """Make both ends; the descriptor of the second is for the process that is to be started."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return Giver(ours), theirs


__all__ = ["Giver", "Handed", "Recipient", "Shares", "SharingPlatform", "pair", "sharing_platform", "why_not_shared"]

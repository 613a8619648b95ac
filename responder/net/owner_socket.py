"""A way into the daemon for its owner alone: a socket that a path of the file system stands for.

On POSIX the path is a Unix socket of mode 0600.  On Windows, whether or not its Python has AF_UNIX, the path is a file
that its owner and the administrators may read, with a loopback TCP port of the system's choice and a secret; a client
sends the secret first.

What a dead daemon left at the path is replaced, however it died; what a living daemon has there is not.  A path where
something else is is refused: nothing that is not ours is ever removed.
"""

from __future__ import annotations

import errno
import hmac
import json
import os
import secrets
import socket
import stat
import sys
from pathlib import Path
from typing import Final

import attrs
import trio

from ..errors import NetworkError
from . import sockets

AF_UNIX: Final[int | None] = getattr(socket, "AF_UNIX", None)
"""None where Python lacks it: on Windows, until CPython issue 77589 is done."""

_IS_POSIX: Final = sys.platform != "win32"
"""A newer Python on Windows must not change the form silently: commands of another version would find no daemon."""

BACKLOG = 16

PROBE_TIMEOUT = 1.0
"""Seconds that a daemon which may be alive has to say so."""

_SECRET_LENGTH = 64  # hexadecimal digits, of 256 bits
_WELCOME = b"\n"
_TURNED_AWAY = b"{"
"""The beginning of an answer (JSON) to what has not been asked yet."""


@attrs.define(eq=False)
class LocalListener:
    """Accepts at `path`, within trio.  Made by `listen`; `close` removes the path if it still is this listener's."""

    path: Path
    _socket: socket.socket
    _secret: bytes = b""
    _identity: tuple[int, int] | None = None
    _listener: trio.SocketListener = attrs.field(init=False)
    _is_lost: bool = attrs.field(default=False, init=False)
    """The socket is none any more."""

    def __attrs_post_init__(self) -> None:
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))

    async def accept(self) -> trio.SocketStream:
        """The next connection, still to be admitted.

        Raises OSError where the system is short of something, and where the socket is lost: the next call then listens
        at the path anew.
        """
        if self._is_lost:
            self._listen_again()
        try:
            return await self._listener.accept()
        except trio.ClosedResourceError:
            if self._socket.fileno() == -1:  # `close`
                raise
            self._is_lost = True
            raise NetworkError(errno.ENOTSOCK, f"{self.path}: the socket is none any more") from None

    def _listen_again(self) -> None:
        """Raises NetworkError."""
        sockets.close(self._socket)
        fresh = listen(self.path, unix=not self._secret)
        self._socket, self._listener, self._is_lost = fresh._socket, fresh._listener, False
        self._secret, self._identity = fresh._secret, fresh._identity

    async def admit(self, stream: trio.SocketStream) -> bool:
        """Is it the owner?  Waits for the secret where there is one, so the caller sets the bound in time."""
        if not self._secret:
            return True
        received = b""
        while len(received) < len(self._secret):
            data = await stream.receive_some(len(self._secret) - len(received))
            if not data:
                return False
            received += data
        if not hmac.compare_digest(received, self._secret):
            return False
        await stream.send_all(_WELCOME)
        return True

    def close(self) -> None:
        """Twice is no error."""
        sockets.close(self._socket)
        try:
            if self._has_the_path():
                self.path.unlink()
        except (OSError, ValueError):
            pass  # gone, or no longer ours to remove after a change of user: the next start replaces it

    def _has_the_path(self) -> bool:
        """False where another daemon replaced it, having found this one silent.  Raises OSError and ValueError."""
        if self._secret:
            # Not the inode: that of a file which is gone may be the new file's.
            return _read_control_file(self.path)[1] == self._secret
        return _identity(self.path) == self._identity


def listen(path: Path, *, unix: bool = _IS_POSIX) -> LocalListener:
    """Listen at `path`, whose folder must exist; `unix` chooses the form.

    Raises NetworkError where a living daemon is there, where something else is, and for what the system refuses.
    """
    try:
        if path.is_symlink() or path.exists():
            _make_room(path, unix)
        return _listen_unix(path) if unix else _listen_tcp(path)
    except NetworkError:
        raise
    except OSError as error:
        raise NetworkError(error.errno or errno.EINVAL, f"{path}: {error.strerror or error}") from error


def connect(path: Path, timeout: float) -> socket.socket:
    """A connection to the daemon at `path`, admitted, within `timeout` seconds; blocking, without a timeout after that.

    Raises NetworkError, whose message says what to do.
    """
    try:
        sock = _connect_unix(path, timeout) if _is_socket(path) else _connect_tcp(path, timeout)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NetworkError(
            error.errno or errno.ENOENT, f"no daemon listens at {path}: is it running, with this `control` path?"
        ) from error
    except TimeoutError as error:
        raise NetworkError(errno.ETIMEDOUT, f"the daemon at {path} does not answer") from error
    except OSError as error:
        raise NetworkError(error.errno or errno.EINVAL, f"{path}: {error.strerror or error}") from error
    sock.settimeout(None)
    return sock


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _is_socket(path: Path) -> bool:
    return stat.S_ISSOCK(path.stat().st_mode)


def _make_room(path: Path, unix: bool) -> None:
    """Remove what a dead daemon left.  Raises OSError."""
    # connect(2) says "refused" of any file, so that the type has to be looked at first.
    kind = path.lstat().st_mode
    is_ours = stat.S_ISSOCK(kind) if unix else stat.S_ISREG(kind) and _is_control_file(path)
    if not is_ours:
        raise NetworkError(errno.EEXIST, f"{path}: there is something else, which is not removed")
    try:
        _is_alive_unix(path) if unix else _connect_tcp(path, PROBE_TIMEOUT).close()
    except (ConnectionError, TimeoutError, FileNotFoundError):
        path.unlink(missing_ok=True)
    else:
        raise NetworkError(errno.EADDRINUSE, f"{path}: another daemon listens there")


# The Unix socket


def _listen_unix(path: Path) -> LocalListener:
    assert AF_UNIX is not None  # noqa: S101 - only then is this form chosen
    sock = socket.socket(AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(str(path))
        # Before listen(2) nobody can connect, whatever the mode.
        path.chmod(0o600)
        identity = _identity(path)
        sock.listen(BACKLOG)
        return LocalListener(path, sock, identity=identity)
    except BaseException:
        sock.close()
        raise


def _is_alive_unix(path: Path) -> None:
    """Raises ConnectionRefusedError where nobody listens."""
    assert AF_UNIX is not None  # noqa: S101 - only then is this form chosen
    with socket.socket(AF_UNIX, socket.SOCK_STREAM) as sock:
        # Without blocking: EAGAIN, a full backlog, is a living one's too.
        sock.setblocking(False)
        try:
            sock.connect(str(path))
        except BlockingIOError:
            return


def _connect_unix(path: Path, timeout: float) -> socket.socket:
    if AF_UNIX is None:
        raise NetworkError(errno.EAFNOSUPPORT, f"{path}: this Python has no Unix sockets")
    sock = socket.socket(AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(str(path))
    except BaseException:
        sock.close()
        raise
    return sock


# Loopback TCP with a secret


def _listen_tcp(path: Path) -> LocalListener:
    secret = secrets.token_hex(_SECRET_LENGTH // 2)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.listen(BACKLOG)
        _write_private(path, json.dumps({"responderd": sock.getsockname()[1], "secret": secret}))
        return LocalListener(path, sock, secret=secret.encode())
    except BaseException:
        sock.close()
        raise


def _write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner may read (and who may read everything)."""
    with open(path, "x", encoding="ascii", opener=_create_private) as file:
        file.write(text)


def _create_private(path: str, flags: int) -> int:
    if sys.platform == "win32":
        # Windows takes no notice of the mode.
        from .windows.private_file import create_private  # noqa: PLC0415 - exists on Windows only

        descriptor = create_private(path)
    else:
        descriptor = os.open(path, flags, 0o600)
    return descriptor


def _read_control_file(path: Path) -> tuple[int, bytes]:
    """Port and secret.  Raises OSError, and ValueError for a file that this program did not write."""
    # More than our own can be, so that no other is read whole.
    with path.open(encoding="ascii") as file:
        content = json.loads(file.read(1024))
    match content:
        case {"responderd": int(port), "secret": str(secret)} if len(secret) == _SECRET_LENGTH and 0 < port <= 0xFFFF:
            return port, secret.encode()
    raise ValueError("no control file")


def _is_control_file(path: Path) -> bool:
    try:
        _read_control_file(path)
    except ValueError:
        # Empty is what a daemon leaves that was killed between making and writing it.
        return path.stat().st_size == 0
    return True


def _connect_tcp(path: Path, timeout: float) -> socket.socket:
    try:
        port, secret = _read_control_file(path)
    except ValueError as error:
        raise ConnectionRefusedError(errno.ECONNREFUSED, str(error)) from error
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            from .windows.winsock_native import try_once  # noqa: PLC0415 - exists on Windows only

            try_once(sock.fileno())
        sock.settimeout(timeout)
        sock.connect(("127.0.0.1", port))
        sock.sendall(secret)
        # The port may long be another program's: only the daemon that wrote the file says this, or, to one client too
        # many, at once why not.
        first = sock.recv(1, socket.MSG_PEEK)
        if first == _WELCOME:
            sock.recv(1)
    except BaseException:
        sock.close()
        raise
    if first not in (_WELCOME, _TURNED_AWAY):
        sock.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, "another program has the port")
    return sock

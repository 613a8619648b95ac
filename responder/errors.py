"""Every exception of the project.  Whose fault it is decides the class:

    ConfigError    the operator's: a key, a value, a file.  `responderd` ends with status 2.
    PluginError    the plugin author's: the contract of `responder.plugin` is broken.
    PeerError      the peer's: a datagram that its protocol forbids.  Silence and a counter, never a log line each.
    NetworkError   the system's: a port that is taken, an address that is gone, a full queue, no thread.

The places that meet an errno, a system's code or a file's format translate them into these.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

E = TypeVar("E", bound=Exception)


class ResponderError(Exception):
    """The base of all that this project raises on purpose."""


class ConfigError(ResponderError):
    """One mistake in a configuration or in a file that it names.

    `path` is the key's full path (`plugins.echo.port`), `file` and `line` (from 1) where it stands, as far as known.
    """

    def __init__(
        self, message: str, *, path: str = "", file: str | Path | None = None, line: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.file = None if file is None else Path(file)
        self.line = line

    def __str__(self) -> str:
        where = "" if self.file is None else name_of(self.file)
        if self.line is not None:
            where = f"{where}:{self.line}" if where else f"line {self.line}"
        return ": ".join(part for part in (where, self.path, self.message) if part)


class ConfigErrors(ResponderError):
    """All mistakes of one configuration at once; `errors` holds each, in the order of the file where that is known."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


class PluginError(ResponderError):
    """A plugin breaks the contract of `responder.plugin`: the message names the plugin and the rule."""


class PeerError(ResponderError):
    """A datagram that its protocol forbids.

    A handler may raise it from `respond`: the datagram is dropped in silence, counted as `malformed` and traced with
    the message.  Nothing is logged, since any peer can cause it at will.
    """


class RateExceeded(PeerError):
    """The peer's network has had as many answers, or conversations, as `rate` allows it.

    A handler need not catch it: the datagram is dropped in silence, and counted as `rate`.
    """


class NetworkError(ResponderError, OSError):
    """The system refused; `errno` (and `winerror` on Windows) are the system's own."""

    def __str__(self) -> str:
        # Without "[Errno 98]": it is said in words, and a reader of a log can do without the number.
        return str(self.strerror) if self.strerror else super().__str__()


class BindError(NetworkError):
    """A socket could not be opened or bound.  `responderd` ends with status 1.

    `port` is the port asked for; `holder`, where it can be told, names the process that has it.
    """

    def __init__(self, errno: int, message: str, *, port: int, holder: str | None = None) -> None:
        super().__init__(errno, message)
        self.port = port
        self.holder = holder


class ThreadUnavailable(NetworkError):
    """No thread can be had (pthread_create(3): EAGAIN), which may pass."""

    def __init__(self) -> None:
        message = "no thread can be had: a limit of processes or tasks is reached (ulimit -u; systemd: TasksMax=)"
        super().__init__(errno.EAGAIN, message)


class SendError(NetworkError):
    """One datagram could not be sent.  The socket goes on working, and other peers notice nothing."""


class SourceUnavailable(SendError):
    """The source address asked for is not, or no longer, an address of this host."""


class Unreachable(SendError):
    """No route, no link, or a firewall that says so for good."""


class MessageTooLong(SendError):
    """The datagram is longer than the transport can carry (EMSGSIZE, WSAEMSGSIZE); nothing was sent."""


class SendRefused(SendError):
    """The system refuses for the moment (ENOBUFS, EPERM by a firewall): the same datagram may go through later."""


def name_of(file: Path) -> str:
    """A configuration's file as messages name it."""
    return "standard input" if str(file) == "-" else str(file)


def leaves(group: BaseExceptionGroup[E]) -> Iterator[E]:
    """The exceptions of a group and of the groups in it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error

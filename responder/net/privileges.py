"""Becomes another user for good, once what takes rights (ports below 1024) is open, and gives that user what it needs.

A daemon that is started as root and given no user to become stays root.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

from ..errors import ConfigError

USER_KEY = "daemon.user"
"""The key that names the user, for messages."""

NOT_ON_WINDOWS = "Windows services run as the account that they are set up with"


class HasDescriptor(Protocol):
    """An open file or socket."""

    def fileno(self) -> int: ...


def give(user: str, *things: HasDescriptor | Path) -> None:
    """Make `user` the owner of sockets and folders, before becoming it.  Raises as `become`.

    Linux lets sockets share a port only where one user owns them all (SO_REUSEPORT).
    """
    if sys.platform != "win32":
        from .posix import privileges  # noqa: PLC0415 - exists on POSIX only

        privileges.give(user, USER_KEY, things)


def check(user: str) -> None:
    """Raises ConfigError where `become` could never do it, as far as can be told without trying."""
    if sys.platform == "win32":
        raise ConfigError(NOT_ON_WINDOWS, path=USER_KEY)
    else:  # noqa: RET506 - as in `become`
        from .posix import privileges  # noqa: PLC0415 - exists on POSIX only

        privileges.account(user, USER_KEY)


def become(user: str) -> None:
    """Become `user`, a name, without any privilege and without a way back.

    Call it in the main thread.  Raises ConfigError where there is no such user, where it is root, and on Windows;
    NetworkError for what the system refuses.  After an error the process may have lost part of its rights: end it.
    """
    # In this form so that mypy checks each platform's line and no other.
    if sys.platform == "win32":
        raise ConfigError(NOT_ON_WINDOWS, path=USER_KEY)
    else:  # noqa: RET506 - without it mypy would look for a POSIX module on Windows
        from .posix import privileges  # noqa: PLC0415 - exists on POSIX only

        privileges.become(user, USER_KEY)

"""POSIX: from root to an ordinary user, and no way back.

The order is a rule: groups first, since an ordinary user may not change them; then the user; then a try to get back,
which has to fail.  On Linux the capabilities go too (`responder.net.linux.capabilities`): those for programs to come
before the user changes, while dropping them is still allowed, and the rest after.

What is open stays open.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigError, NetworkError

if sys.platform == "win32":  # mypy leaves out what follows, whose names `os` lacks there
    raise ImportError("POSIX only")

import pwd

if TYPE_CHECKING:
    from ..privileges import HasDescriptor

if sys.platform == "linux":
    from ..linux import capabilities


def become(user: str, key: str) -> None:
    """See `responder.net.privileges.become`; `key` is where the configuration names the user."""
    uid, gid = account(user, key)
    try:
        if sys.platform == "linux":
            capabilities.limit_programs()
        if (os.getuid(), os.geteuid()) != (uid, uid):
            os.initgroups(user, gid)
            # Called by root these two set the saved ids as well (POSIX setuid(), setgid()).
            os.setgid(gid)
            os.setuid(uid)
        if sys.platform == "linux":
            capabilities.drop()
    except OSError as error:
        code = error.errno or errno.EPERM
        raise NetworkError(code, f"can't become user {user}: {error.strerror or error}") from error
    _verify(user)


def give(user: str, key: str, things: Iterable[HasDescriptor | Path]) -> None:
    """See `responder.net.privileges.give`."""
    uid, gid = account(user, key)
    if os.geteuid() == uid:
        return
    for thing in things:
        try:
            os.chown(thing if isinstance(thing, Path) else thing.fileno(), uid, gid)
        except OSError as error:
            raise NetworkError(
                error.errno or errno.EPERM, f"can't give {thing} to user {user}: {error.strerror}"
            ) from error


def account(user: str, key: str) -> tuple[int, int]:
    """The ids of the user and of its primary group.  Raises ConfigError where there is none, or it is root."""
    try:
        found = pwd.getpwnam(user)
    except (KeyError, ValueError) as error:  # ValueError: a null character
        raise ConfigError(f"this host has no user {user!r}", path=key) from error
    if found.pw_uid == 0:
        raise ConfigError(f"{user} has all privileges (user id 0): name another user, or leave it out", path=key)
    return found.pw_uid, found.pw_gid


def _verify(user: str) -> None:
    """Raises NetworkError where root can be had again."""
    for regain in (os.setuid, os.seteuid):
        try:
            regain(0)
        except PermissionError:
            continue
        raise NetworkError(errno.EPERM, f"user {user} can become root again ({regain.__name__})")

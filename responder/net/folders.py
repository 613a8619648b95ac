"""Where the daemon's files are, on each platform, where the configuration does not say; can a folder be made?

                     POSIX                                  Windows, a user            Windows, a service
    state            $XDG_STATE_HOME, ~/.local/state        %LOCALAPPDATA%             %ProgramData%
    control path     /run/responderd.sock                   the same                   the same

On Windows each is a folder `responderd` there.  A service manager's folder ($STATE_DIRECTORY) goes before all of them.
This file makes no folder.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

NAME = "responderd"

CONTROL_IN_WORDS = r"%ProgramData%\responderd\control" if sys.platform == "win32" else "/run/responderd.sock"
"""For a help text: the first place that `control_path` looks at."""


def state_folder(user: str | None = None) -> Path:
    """The folder for what outlives a restart; `user` is whom the daemon will become."""
    if given := os.environ.get("STATE_DIRECTORY"):
        # A list, as systemd gives it: of paths that on Windows have a colon of their own.
        return Path(given.split(os.pathsep)[0])
    if sys.platform == "win32":
        return windows_folder(for_all_users=False)
    if user is not None:
        # The environment is still that of the user who started it.
        return Path(f"~{user}").expanduser() / NAME
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / NAME


def control_path() -> Path:
    """Where a command looks for a daemon: on Windows for a service's, then for one that this user has started."""
    if sys.platform == "win32":
        own, service = (windows_folder(for_all_users=all_users) / "control" for all_users in (False, True))
        return own if own.exists() and not service.exists() else service
    return Path(f"/run/{NAME}.sock")


def windows_folder(*, for_all_users: bool) -> Path:
    """%ProgramData% or %LOCALAPPDATA%, asked of Windows and not of the environment, with our folder's name."""
    import platformdirs  # noqa: PLC0415 - installed on Windows alone

    folder = platformdirs.site_data_path if for_all_users else platformdirs.user_data_path
    return folder(NAME, appauthor=False)


def why_not_made(folder: Path) -> OSError | None:
    """What making a folder, and those above it, would raise for us, as far as can be told beforehand."""
    for each in (folder, *folder.parents):
        try:
            mode = each.stat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            return error
        if not stat.S_ISDIR(mode):  # that of a folder above is met as ENOTDIR
            return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        if each == folder or os.access(each, os.W_OK | os.X_OK):
            return None
        code = errno.EROFS if _is_read_only(each) else errno.EACCES
        return OSError(code, os.strerror(code))
    return None


def _is_read_only(folder: Path) -> bool:
    return sys.platform != "win32" and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)

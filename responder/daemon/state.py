"""Where plugins keep what outlives a restart: the folder of `[daemon] state`, or what the platform has for it."""

from __future__ import annotations

import os
from pathlib import Path

from ..config.daemon_options import DaemonOptions
from ..config.instance import Instance, context_of
from ..config.reading import load
from ..errors import ConfigError
from ..net.folders import state_folder
from ..net.privileges import give
from ..plugin import Context
from ..server.state import folder_below, hindrance, made

STATE_KEY = "daemon.state"


def state_root(options: DaemonOptions) -> Path:
    """The folder below which each instance has one."""
    return options.state or state_folder(options.user)


def known_state_root(options: DaemonOptions) -> Path | None:
    """The same; None where it is below the home of a user who does not exist, which is told elsewhere."""
    try:
        return state_root(options)
    except RuntimeError:
        return None


def read_contexts(file: Path) -> list[tuple[Instance, Context]]:
    """The instances of a configuration, each with what its plugin would prepare with: for commands that plugins bring.

    Raises ConfigErrors, all mistakes at once.
    """
    config = load(file)
    root = known_state_root(config.daemon)
    return [(instance, context_of(instance, root)) for instance in config.instances]


def instance_folder(options: DaemonOptions, instance: str) -> Path:
    """The folder of an instance, which is made where it is missing.  Raises ConfigError."""
    return folder_below(state_root(options), STATE_KEY, instance)


def check_state(options: DaemonOptions) -> ConfigError | None:
    """What `prepare_state` would raise, as far as can be told without making the folder."""
    return None if options.state is None else hindrance(options.state, STATE_KEY)


def prepare_state(options: DaemonOptions) -> None:
    """Make the folder that the configuration names, for the user that the daemon is to become.

    Call it before the daemon becomes that user, who may not make folders there.  Raises ConfigError, and NetworkError
    where the folder can't be given to the user.
    """
    if options.state is None or os.path.isdir(options.state):  # Path.is_dir may raise
        return
    folder = made(options.state, STATE_KEY)
    if options.user is not None:
        give(options.user, folder)

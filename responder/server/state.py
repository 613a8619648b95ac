"""The folders in which plugins keep what outlives a restart."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from ..net.folders import why_not_made


def hindrance(folder: Path, key: str) -> ConfigError | None:
    """What `made` would raise, as far as can be told without making anything."""
    error = why_not_made(folder)
    return None if error is None else _cannot_be_made(folder, key, error)


def _cannot_be_made(folder: Path, key: str, error: OSError) -> ConfigError:
    return ConfigError(f"the folder {folder} can't be made: {error.strerror}", path=key)


def made(folder: Path, key: str) -> Path:
    """The folder, which is made where it is missing.  Raises ConfigError, which names the `key` that asks for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_be_made(folder, key, error) from error
    return folder


def folder_below(root: Path, key: str, instance: str) -> Path:
    """The folder of an instance.  Raises as `made`."""
    return made(root / instance, key)

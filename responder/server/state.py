"""The folders in which plugins keep what outlives a restart."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError


def made(folder: Path, key: str) -> Path:
    """The folder, which is made where it is missing.  Raises ConfigError, which names the `key` that asks for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {folder} can't be made: {error.strerror}", path=key) from error
    return folder


def folder_below(root: Path, key: str, instance: str) -> Path:
    """The folder of an instance.  Raises as `made`."""
    return made(root / instance, key)

"""The commands that plugins bring: entry points of the group `responder.commands`, each imported when it is used.

A command that can't be imported is an error of whoever calls it, and of nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import PluginError
from .output import exit_with

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "responder.commands"


class PluginCommand(click.Command):
    """A plugin's command as far as it is known without importing it; the first of the `entries` of its name is used."""

    def __init__(self, entries: Sequence[EntryPoint]) -> None:
        self._entry = entries[0]
        self._origin, *self._others = map(_origin, entries)
        origins = ", ".join([self._origin, *self._others])
        super().__init__(self._entry.name, short_help=f"Commands of {self._entry.name} ({origins}).")

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """The context of the command itself, which is imported here.  Exits, naming it, where that fails."""
        wrong = f"command {self.name!r} of {self._origin}"
        if self._others:
            others = ", ".join(self._others)
            click.echo(f"warning: {wrong} is used; {others} has one of that name too", err=True)
        try:
            command = self._entry.load()
        except (Exception, SystemExit) as error:
            exit_with([PluginError(f"{wrong} can't be imported: {type(error).__name__}: {error}")])
        if not isinstance(command, click.Command):
            exit_with([PluginError(f"{wrong} is no click.Command: {self._entry.value}")])
        return command.make_context(*args, **extra)


def plugin_commands() -> dict[str, list[EntryPoint]]:
    """The entry points of each name, in the order of their distributions' names."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, and our own commands need none

    found: dict[str, list[EntryPoint]] = {}
    for entry in sorted(entry_points(group=GROUP), key=_origin):
        found.setdefault(entry.name, []).append(entry)
    return found


def _origin(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value

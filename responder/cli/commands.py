"""The command `responderd`: what it prints, and the exit status.

Exit status: 2 for the configuration or the command line, 1 for what the system refuses.  `--json` prints JSON and
nothing else on standard output.

Each command imports only what it uses, within the function, so that `--help` and the first answer of `run` are quick.
Plugins bring commands of their own (entry points of the group `responder.commands`), which are imported when used.
This file refuses to decide anything about serving.
"""

# ruff: noqa: PLC0415 - imports within functions, for the reason above

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ConfigError, PluginError, ResponderError
from .interfaces import interfaces
from .new import new
from .operate import COMMANDS
from .output import exit_with, json_option, print_json, print_table

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from ..config.registry import Entry
    from ..datagram import Interface
    from ..plugin import Plugin

config_argument = click.Path(path_type=Path)


class _Brought(click.Command):
    """A plugin's command as far as it is known without importing it; `entries` are those of its name, one is used."""

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


class _Main(click.Group):
    """Our own commands first, so that no plugin can take one's place; then those that plugins bring."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(set(_brought()) - set(self.commands))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entries = _brought().get(cmd_name)
        return None if entries is None else _Brought(entries)


def _brought() -> dict[str, list[EntryPoint]]:
    """By name; of several the same one comes first each time."""
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = {}
    for entry in sorted(entry_points(group="responder.commands"), key=_origin):
        found.setdefault(entry.name, []).append(entry)
    return found


def _origin(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="responderd")
def main() -> None:
    """UDP responders on hosts with many interfaces and addresses."""


for command in (interfaces, new, *COMMANDS):
    main.add_command(command)


@main.command(short_help="Serve what CONFIG says.")
@click.argument("config", required=False, type=config_argument)
def run(config: Path | None) -> None:
    """Serve what CONFIG says; without one, whoami (DNS) on port 5300, with no rights needed and no file written."""
    errors: list[ResponderError] = []
    status = 0
    try:
        from ..daemon import daemon

        status = daemon.run(config)
    except* ResponderError as group:
        errors = _flat(group)
    exit_with(errors, status)


@main.command()
@click.argument("config", type=config_argument)
def check(config: Path) -> None:
    """Say everything that is wrong with CONFIG.  Nothing is bound, and nothing changed."""
    import trio

    from ..config.divisible import WORKERS_KEY
    from ..config.reading import load_prepared, unmatched_patterns
    from ..net.handover import why_not_shared

    errors: list[ResponderError] = []
    try:
        loaded, prepared = trio.run(load_prepared, config)
        errors += [complaint for each in prepared for complaint in each.complaints]
        if loaded.daemon.workers > 1 and (reason := why_not_shared()):
            errors.append(ConfigError(reason, path=WORKERS_KEY))
        names = [interface.name for interface in _interfaces()]
    except ResponderError as error:
        errors.append(error)
    if errors:
        exit_with(errors)
    for path, pattern in unmatched_patterns(loaded, names):
        click.echo(f"warning: {path}: {pattern!r} matches no interface now", err=True)
    count = len(loaded.instances)
    instances = ", ".join(instance.name for instance in loaded.instances)
    click.echo(f"{config}: ok: {count} plugin{'s' if count != 1 else ''} ({instances})")


@main.command(short_help="List the plugins that are installed.")
@click.argument("name", required=False)
@json_option
def plugins(name: str | None, as_json: bool) -> None:
    """List the plugins that are installed; with NAME, the options and keys of one."""
    from ..config.registry import find, installed

    if name is None:
        rows = [_description(entry) for entry in installed().values()]
        if as_json:
            print_json(rows)
        else:
            _print_plugins(rows)
        return
    try:
        entry = find(name)
        cls = entry.load()
    except ResponderError as error:
        exit_with([error])
    description = {**_description(entry), **_options(cls)}
    if as_json:
        print_json(description)
    else:
        _print_plugin(description)


def _interfaces() -> Sequence[Interface]:
    """Raises NetworkError."""
    import trio

    from ..net import platform

    return trio.run(platform().interfaces)


def _flat(group: BaseExceptionGroup[ResponderError]) -> list[ResponderError]:
    errors: list[ResponderError] = []
    for error in group.exceptions:
        errors += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return errors


def _description(entry: Entry) -> dict[str, Any]:
    """What is known of a plugin, as JSON has it; `error` says why one can't be loaded, and is null otherwise."""
    row: dict[str, Any] = {"name": entry.name, "distribution": entry.distribution, "version": entry.version}
    try:
        cls = entry.load()
    except ResponderError as error:
        return {**row, "summary": "", "services": [], "error": str(error)}
    services = [
        {
            "name": service.name,
            "port": service.port,
            "groups": [str(group) for group in service.groups],
            "hop_limit": service.hop_limit,
            "tcp": service.tcp,
            "shared": service.shared,
        }
        for service in cls.services
    ]
    return {**row, "summary": _first_line(cls.__doc__), "services": services, "error": None}


def _options(cls: type[Plugin]) -> dict[str, Any]:
    """The options of a plugin and the keys that its instances may have: type, whether it is required, default."""
    from ..config.instance import InstanceKeys

    services = cls.services
    absent = {0: {"port", "ports", "groups", "hop_limit"}, 1: {"ports"}}.get(len(services), {"port"})
    keys = [key for key in _fields(InstanceKeys) if key["name"] not in absent]
    if len(services) == 1:
        for key in keys:
            if key["name"] in {"port", "groups", "hop_limit"}:
                key["default"] = _as_json(getattr(services[0], key["name"]))
    return {"options": _fields(cls), "keys": keys}


def _fields(cls: type[Any]) -> list[dict[str, Any]]:
    import attrs

    from ..config.option_types import type_name

    rows = []
    for field in attrs.fields(attrs.resolve_types(cls)):
        if not field.init:
            continue
        try:
            kind = type_name(field.type)
        except TypeError:  # the field's converter makes it, from what only the plugin's author knows
            kind = getattr(field.type, "__name__", str(field.type))
        try:
            default = field.default.factory() if _is_plain_factory(field.default) else field.default
        except Exception as error:  # the plugin author's own code
            default = f"can't be told: {type(error).__name__}"
        required = default is attrs.NOTHING
        rows.append(
            {
                "name": field.alias,
                "type": kind,
                "required": required,
                "default": None if required else _as_json(default),
            }
        )
    return rows


def _is_plain_factory(default: object) -> bool:
    import attrs

    # attrs.Factory is a function to type checkers, and a class at run time.
    factory: Any = attrs.Factory
    return isinstance(default, factory) and not getattr(default, "takes_self", False)


def _as_json(value: Any) -> Any:
    """A default as the config would have it."""
    import enum

    if isinstance(value, enum.Enum):
        return _as_json(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(key): _as_json(own) for key, own in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_as_json(own) for own in value]
    return str(value)


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]


def _print_plugins(rows: Iterable[dict[str, Any]]) -> None:
    print_table(
        ("name", "from", "summary", "services"),
        (
            (
                row["name"],
                f"{row['distribution']} {row['version']}",
                row["summary"] if row["error"] is None else f"can't be loaded: {row['error']}",
                "\n".join(map(_service_line, row["services"])),
            )
            for row in rows
        ),
    )


def _service_line(service: dict[str, Any]) -> str:
    parts = [] if service["name"] == "default" else [service["name"]]
    parts.append(f"{service['port']}/udp+tcp" if service["tcp"] else f"{service['port']}/udp")
    return " ".join([*parts, *service["groups"]])


def _print_plugin(description: dict[str, Any]) -> None:
    click.echo(
        f"{description['name']} ({description['distribution']} {description['version']}): {description['summary']}"
    )
    for service in description["services"]:
        click.echo(f"service {_service_line(service)}")
    for title, key in (("option", "options"), ("key of every plugin", "keys")):
        rows = description[key]
        if rows:
            click.echo()
            print_table(
                (title, "type", "default"),
                ((row["name"], row["type"], "required" if row["required"] else _shown(row["default"])) for row in rows),
            )


def _shown(default: Any) -> str:
    return "" if default is None else json.dumps(default, ensure_ascii=False)

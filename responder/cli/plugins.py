"""`responderd plugins [NAME]`: what is installed, and the options and keys of one plugin."""

# ruff: noqa: PLC0415 - imports within functions: `--help` is to be quick

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from ..errors import ResponderError
from ..log import printable
from .output import exit_with, json_option, print_json, print_table

if TYPE_CHECKING:
    from ..config.registry import Entry
    from ..plugin import Plugin


@click.command(short_help="List the plugins that are installed.")
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
    origin = f"{description['distribution']} {description['version']}"
    click.echo(printable(f"{description['name']} ({origin}): {description['summary']}"))
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

"""`responderd plugins [NAME]`: what is installed, and the options and keys of one plugin."""

# ruff: noqa: PLC0415 - imports within functions: `--help` is to be quick

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from ..errors import ResponderError
from ..log import printable
from .completion import plugin_names
from .output import exit_with, json_option, print_json, print_table

if TYPE_CHECKING:
    from ..config.reference import Option
    from ..config.registry import Entry


@click.command(short_help="List the plugins that are installed.")
@click.argument("name", required=False, shell_complete=plugin_names)
@click.option("--example", "as_example", is_flag=True, help="Print a configuration for NAME, every option explained.")
@json_option
def plugins(name: str | None, as_example: bool, as_json: bool) -> None:
    """List the plugins that are installed; with NAME, the options and keys of one."""
    from ..config.registry import find, installed

    if name is None:
        if as_example:
            raise click.UsageError("--example needs a NAME.")
        rows = [_description(entry) for entry in installed().values()]
        if as_json:
            print_json(rows)
        else:
            _print_plugins(rows)
        return
    from ..config import reference

    try:
        entry = find(name)
        cls = entry.load()
    except ResponderError as error:
        exit_with([error])
    if as_example:
        for line in reference.example(name, cls).splitlines():
            click.echo(printable(line))
        return
    description = {
        **_description(entry),
        "options": [_row(option) for option in reference.options_of(cls)],
        "tables": {path: [_row(key) for key in keys] for path, keys in reference.tables_of(cls)},
        "keys": [_row(key) for key in reference.keys_of(cls)],
    }
    if as_json:
        print_json(description)
    else:
        _print_plugin(description)


def _description(entry: Entry) -> dict[str, Any]:
    """What is known of a plugin, as JSON has it; `error` says why one can't be loaded, and is null otherwise."""
    from ..config.reference import summary

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
            "udp": service.udp,
            "tcp": service.tcp,
            "shared": service.shared,
        }
        for service in cls.services
    ]
    return {**row, "summary": summary(cls), "services": services, "error": None}


def _row(option: Option) -> dict[str, Any]:
    """An option or key, as JSON has it."""
    return {name: getattr(option, name) for name in ("name", "type", "required", "default", "description")}


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
    transports = "+".join(name for name in ("udp", "tcp") if service[name])
    parts.append(f"{service['port']}/{transports}")
    return " ".join([*parts, *service["groups"]])


def _print_plugin(description: dict[str, Any]) -> None:
    origin = f"{description['distribution']} {description['version']}"
    click.echo(printable(f"{description['name']} ({origin}): {description['summary']}"))
    for service in description["services"]:
        click.echo(f"service {_service_line(service)}")
    titled = {
        "option": description["options"],
        **{f"key of {path}": rows for path, rows in description["tables"].items()},
        "key of every plugin": description["keys"],
    }
    for title, rows in titled.items():
        if rows:
            click.echo()
            print_table(
                (title, "type", "default", "what it is"),
                ((row["name"], row["type"], _default(row), row["description"]) for row in rows),
            )


def _default(row: dict[str, Any]) -> str:
    from ..config.reference import as_toml

    if row["required"]:
        return "required"
    return "" if row["default"] is None else as_toml(row["default"])

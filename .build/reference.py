"""The commands and the configuration in words, as reStructuredText: one text for the manual and for the man pages.

All of it comes from the program itself: click's commands, and the types and docstrings of options and keys
(`responder.config.reference`).  Plugins and their commands are those that pyproject.toml brings, installed or not.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from textwrap import indent
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

import click  # noqa: E402 - the build environment has it, and ours stand behind the path

from responder.cli import main as program  # noqa: E402
from responder.config import reference  # noqa: E402
from responder.config.daemon_options import DaemonOptions  # noqa: E402
from responder.config.instance import InstanceKeys  # noqa: E402

# Sections from the highest down.
UNDERLINES = "=-~^"
RESTART_ONLY = "Changed by a restart only."

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def brought(group: str) -> dict[str, Any]:
    """The objects behind this project's own entry points, by their names."""
    found = {}
    for name, value in PROJECT["entry-points"][group].items():
        module, _, attribute = value.partition(":")
        found[name] = getattr(import_module(module), attribute)
    return found


def commands() -> str:
    """Every command, with its usage, what it does, and its options."""
    context = click.Context(program, info_name="responderd")
    parts = []
    for name, command in {**program.commands, **brought("responder.commands")}.items():
        parts += _command(command, click.Context(command, parent=context, info_name=name), level=1)
    return "\n".join(parts)


def configuration() -> str:
    """The tables `[daemon]` and `[plugins.NAME]`."""
    restart = DaemonOptions.RESTART_ONLY
    daemon = [
        (option, RESTART_ONLY if option.name in restart else "") for option in reference.options_of(DaemonOptions)
    ]
    keys = [(key, "") for key in reference.options_of(InstanceKeys)]
    return "\n".join(
        [
            *_section("The table [daemon]", 1),
            *_options(daemon),
            *_section("Keys of every instance", 1),
            "Where the default is *the plugin's*, ``responderd plugins NAME`` tells it.",
            "",
            *_options(keys, undecided="the plugin's"),
        ]
    )


def plugin_options(name: str, level: int = 2) -> str:
    """The options of a bundled plugin, and the keys of the tables in them."""
    cls = brought("responder.plugins")[name]
    parts = list(_options((option, "") for option in reference.options_of(cls)))
    for path, keys in reference.tables_of(cls):
        parts += [*_section(f"Keys of {path}", level), *_options((key, "") for key in keys)]
    return "\n".join(parts) or "It has no options.\n"


def inline(text: str) -> str:
    """A line with `code` in it."""
    pieces = re.split(r"`([^`]+)`", text)
    return "".join(f"``{piece}``" if number % 2 else _escaped(piece) for number, piece in enumerate(pieces))


def _escaped(text: str) -> str:
    return re.sub(r"([*`|_@\\])", r"\\\1", text)


def _section(title: str, level: int) -> list[str]:
    return ["", _escaped(title), UNDERLINES[level] * len(_escaped(title)), ""]


def _options(rows: Iterable[tuple[reference.Option, str]], undecided: str = "") -> Iterator[str]:
    for option, remark in rows:
        about = [f"*{_escaped(option.type)}*"]
        if option.required:
            about.append("required")
        elif option.default is not None:
            about.append(f"default ``{reference.as_toml(option.default)}``")
        elif undecided:
            about.append(f"default: {undecided}")
        text = _sentence(option.description) + (f" {remark}" if remark else "")
        example = f"``{option.name} = {reference.as_toml(option.example)}``"
        yield f"``{option.name}`` ({', '.join(about)})"
        yield f"    {inline(text)} Example: {example}"
        yield ""


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:] if text[:1].islower() else text
    return text if not text or text.endswith(".") else f"{text}."


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield from _section(context.command_path.partition(" ")[2], level)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from ("::", "", f"    {usage}", "")
    yield from _paragraphs(command.help or "")
    records = [parameter.get_help_record(context) for parameter in command.params]
    for record in filter(None, records):
        if not record[1]:  # an argument, which the text above speaks of
            continue
        yield f"``{record[0]}``"
        yield f"    {inline(record[1])}"
        yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            own = command.get_command(context, name)
            assert own is not None  # noqa: S101 - it is in the list
            yield from _command(own, click.Context(own, parent=context, info_name=name), level + 1)


def _paragraphs(text: str) -> Iterator[str]:
    """click's help: paragraphs, and behind a line of \\b what is to stay as it is."""
    for paragraph in cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            yield from ("::", "", indent(cleandoc(paragraph.removeprefix("\b\n")), "    "), "")
        else:
            yield from (inline(" ".join(paragraph.split())), "")


def page(name: str, section: int, about: str, parts: Sequence[str]) -> str:
    """A whole document for docutils' manual page writer, which takes its header from these fields."""
    return "\n".join(
        [
            *("=" * len(name), name, "=" * len(name), ""),
            *("-" * len(about), about, "-" * len(about), ""),
            *(f":Version: {PROJECT['version']}", f":Manual section: {section}", ":Manual group: responderd", ""),
            *parts,
            "",
        ]
    )

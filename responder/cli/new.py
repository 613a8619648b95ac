"""`responderd new NAME`: a plugin project of its own, whose tests pass as they are written.

The files are templates in `templates/plugin` (`string.Template`).  A folder that exists is left as it is.
"""

from __future__ import annotations

import keyword
import re
import string
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import click

from ..errors import ConfigError, NetworkError, PluginError
from .output import exit_with

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

# The template of each file, and where it goes.
_FILES: Mapping[str, str] = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "config.toml": "$name.toml",
    "plugin.py": "$package/__init__.py",
    "test_plugin.py": "tests/test_$module.py",
}


def rendered(name: str) -> Iterator[tuple[str, str]]:
    """The project's files: the path below its folder, and the text.  Raises ConfigError for an impossible name."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"expected small letters, digits and single hyphens, as in 'my-protocol', got {name!r}")
    module = name.replace("-", "_")
    cls = "".join(part.capitalize() for part in name.split("-"))
    if keyword.iskeyword(cls):
        raise ConfigError(f"{cls} is a word of Python's own")
    values = {
        "name": name,
        "module": module,
        "cls": cls,
        "package": f"responder_{module}",
        "distribution": f"responder-{name}",
    }
    templates = files(__package__) / "templates" / "plugin"
    for source, target in _FILES.items():
        text = (templates / f"{source}.template").read_text(encoding="utf-8")
        yield string.Template(target).substitute(values), string.Template(text).substitute(values)
    # Type checkers read the package's own annotations by this (PEP 561).
    yield f"{values['package']}/py.typed", ""


def write_project(folder: Path) -> None:
    """Write a project into a new folder, named after its last part.

    Raises ConfigError for an impossible name, for that of a plugin, and for a folder that exists, NetworkError for
    what the system refuses.
    """
    project = dict(rendered(folder.name))
    if folder.exists():
        raise ConfigError(f"{folder} exists, and is left as it is")
    _check_free(folder.name)
    try:
        folder.mkdir(parents=True)
        for path, text in project.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise NetworkError(error.errno, f"{folder}: {error.strerror}") from error


TAKEN_NAMES = frozenset(
    {"plugins", "plugin", "service", "datagram", "interface", "answer", "peer", "peer-error", "path", "context"}
    | {"handler", "network", "reply", "mock-clock", "config-errors", "config-error"}
)
"""Their classes would hide names that the written files import, or their package the bundled plugins'."""


def _check_free(name: str) -> None:
    """Raises ConfigError where another distribution brings a plugin of that name."""
    from ..config.registry import installed  # noqa: PLC0415 - for the one command that needs it

    if name in TAKEN_NAMES or name.startswith("test"):
        raise ConfigError(f"the name {name!r} would clash with one that its files use: choose another")
    entry = installed().get(name)
    if entry is not None and entry.distribution != f"responder-{name}":
        raise ConfigError(f"there is a plugin {name!r} already, of {entry.distribution}")


@click.command(short_help="Write a plugin project into the folder NAME.")
@click.argument("name", type=click.Path(path_type=Path))
def new(name: Path) -> None:
    """Write a plugin project into the folder NAME, with tests that pass.  A folder that exists is left alone."""
    try:
        write_project(name)
    except (ConfigError, NetworkError, PluginError) as error:
        exit_with([error])
    click.echo(f"{name}: written.  Next:\n")
    click.echo(f"    pip install -e '{name}[test]' && pytest {name}\n    responderd run {name / name.name}.toml")

"""The man pages, made from the same texts as the manual: `python .build/man.py [FOLDER]` writes them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import reference  # beside this file
from docutils.core import publish_string

SYNOPSIS = """
Synopsis
========

::

    responderd COMMAND [OPTIONS]

{about}

Exit status: 0, all is well; 2, a mistake in the configuration or the command line; 1, what the system refuses.

Commands
========
"""

FILE = """
Description
===========

The configuration of responderd(1) is one TOML file: a table ``[daemon]``, and a table ``[plugins.NAME]`` for each
instance.  NAME is the plugin's name, or ``use`` names the plugin.  Several instances on one port are asked in the order
of the file until one answers.

``include = ["conf.d/*.toml"]``, before the first table, takes in more files, with ``[plugins.NAME]`` tables only.
Relative file names start from the folder of the file that has them.  ``${NAME}`` in a string is that environment
variable, which must be set; ``$${`` is a plain ``${``.

Durations are ``"500ms"``, ``"30s"``, ``"1h 30m"`` or a number of seconds; sizes ``"1k"``, ``"64 KiB"`` or a number of
bytes.

Keys
====
"""

PLUGINS = """
Description
===========

The options of the bundled plugins of responderd(1), as their ``[plugins.NAME]`` tables of responderd.toml(5) have them
beside the keys of every instance.  ``responderd plugins NAME --example`` prints a configuration.

Options
=======
"""


def sources() -> Iterator[tuple[str, str]]:
    """The file of each page below share/man, and its text before it is formatted."""
    about = reference.PROJECT["description"] + "."
    see = "\nSee also\n========\n\n"
    yield (
        "man1/responderd.1",
        reference.page(
            "responderd",
            1,
            reference.PROJECT["description"],
            [SYNOPSIS.format(about=about), reference.commands(), see, "responderd.toml(5), responderd-plugins(7)"],
        ),
    )
    yield (
        "man5/responderd.toml.5",
        reference.page(
            "responderd.toml",
            5,
            "configuration of responderd",
            [FILE, reference.configuration(), see, "responderd(1), responderd-plugins(7)"],
        ),
    )
    plugins = []
    for name in reference.brought("responder.plugins"):
        plugins += [f"\n{name}\n{'-' * len(name)}\n", reference.plugin_options(name)]
    yield (
        "man7/responderd-plugins.7",
        reference.page(
            "responderd-plugins",
            7,
            "options of the bundled plugins",
            [PLUGINS, *plugins, see, "responderd(1), responderd.toml(5)"],
        ),
    )


def write(folder: Path) -> list[Path]:
    """Write all pages below a folder, each at its place below share/man.  Raises where a text has a mistake."""
    settings = {"report_level": 2, "halt_level": 2, "output_encoding": "unicode", "input_encoding": "unicode"}
    written = []
    for name, source in sources():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = publish_string(source, writer="manpage", settings_overrides=settings)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    for path in write(Path(sys.argv[1] if len(sys.argv) > 1 else "build/man")):
        print(path)

"""A distribution of plugins that misbehave, for tests of the running daemon.

    folder = install(tmp_path)                                       a folder for PYTHONPATH
    daemon(host, config, folder=..., under=with_plugins(folder))     a daemon that finds them

It is a real distribution as far as `importlib.metadata` can see: a module with a `dist-info` beside it.  Nothing is
installed into the environment.  `misbehaving` says what the plugins do wrong.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

MODULE = "misbehaving"
PLUGINS = {
    "raising": "Raising",
    "sleeping": "Sleeping",
    "stillborn": "Stillborn",
    "amplifying": "Amplifying",
    "holding": "Holding",
    "holding-async": "HoldingAsync",
    "speechless": "Speechless",
    "impatient": "Impatient",
    "quitting": "Quitting",
    "slow-to-prepare": "SlowToPrepare",
    "mortal": "Mortal",
    "unprepared": "Unprepared",
    "shielded": "Shielded",
    "unloadable": "NoSuchClass",
}
"""Entry point -> class."""


def install(folder: Path) -> Path:
    """Make the distribution in a new folder below `folder`, and return that."""
    source = Path(__file__).with_name(f"{MODULE}.py").read_text(encoding="utf-8")
    return install_module(folder, MODULE, source, PLUGINS)


def install_module(folder: Path, module: str, source: str, plugins: Mapping[str, str]) -> Path:
    """The same of a module with that source; `plugins`: entry point -> class."""
    site = folder / "site"
    info = site / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{module}.py").write_text(source, encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"{name} = {module}:{cls}" for name, cls in plugins.items()]
    (info / "entry_points.txt").write_text("\n".join(["[responder.plugins]", *lines, ""]), encoding="utf-8")
    return site


def with_plugins(site: Path) -> Sequence[str]:
    """Before a command line: it finds the plugins in `site`, and whatever it found before."""
    inherited = os.environ.get("PYTHONPATH", "")
    return ("env", "PYTHONPATH=" + os.pathsep.join(filter(None, [str(site), inherited])))

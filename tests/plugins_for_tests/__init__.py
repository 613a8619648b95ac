"""A distribution of plugins that misbehave, for tests of the running daemon.

    folder = install(tmp_path)                                       a folder for PYTHONPATH
    daemon(host, config, folder=..., under=with_plugins(folder))     a daemon that finds them

It is a real distribution as far as `importlib.metadata` can see: a module with a `dist-info` beside it.  Nothing is
installed into the environment.  `misbehaving` says what the plugins do wrong.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
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
    site = folder / "site"
    info = site / f"{MODULE}-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name(f"{MODULE}.py"), site)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {MODULE}\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"{name} = {MODULE}:{cls}" for name, cls in PLUGINS.items()]
    (info / "entry_points.txt").write_text("\n".join(["[responder.plugins]", *lines, ""]), encoding="utf-8")
    return site


def with_plugins(site: Path) -> Sequence[str]:
    """Before a command line: it finds the plugins in `site`, and whatever it found before."""
    inherited = os.environ.get("PYTHONPATH", "")
    return ("env", "PYTHONPATH=" + os.pathsep.join(filter(None, [str(site), inherited])))

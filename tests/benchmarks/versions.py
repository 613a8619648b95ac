"""Which versions were measured: ours, the libraries and the programs."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from pathlib import Path

LIBRARIES = ("trio", "attrs", "dnspython", "uvloop", "twisted", "dnslib")
PROGRAMS = {
    "nsd": ("-v",),
    "knotd": ("--version",),
    "pdns_server": ("--version",),
    "dnsperf": ("-h",),
    "gcc": ("--version",),
}
"""What makes each say its version."""


def first_version(said: str) -> str:
    """The first thing in a text that looks like a version, or "unknown"."""
    found = re.search(r"\b[0-9]+\.[0-9]+(?:\.[0-9]+)*\b", said)
    return found[0] if found else "unknown"


def commit() -> str:
    """Of the sources that this file stands in, or "unknown" outside a checkout."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    argv = [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def programs() -> dict[str, str]:
    """Version by name, of those that are installed."""
    found = {"responderd": commit()}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    for program, options in PROGRAMS.items():
        if path := shutil.which(program):
            said = subprocess.run(
                [path, *options], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
            )
            found[program] = first_version(said.stdout + said.stderr)
    return found

"""Builds the compiled module where there is a C compiler: by the build hook, or by hand in a checkout.

    python .build/native.py

Without it everything works all the same, only slower.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

RESPONDER = Path(__file__).parent.parent / "responder"
SOURCE = RESPONDER / "net" / "linux" / "_native.c"


def build(source: Path = SOURCE) -> Path | None:
    """The module, built beside its source; None, and why on standard error, where it can't be built."""
    if sys.platform != "linux" or sys.implementation.name != "cpython":
        return None
    target = source.with_name(source.stem + sysconfig.get_config_var("EXT_SUFFIX"))
    compiler = shlex.split(os.environ.get("CC") or "cc")
    made = target.with_suffix(".new")
    command = [
        *(*compiler, "-O2", "-Wall", "-Wextra", *shlex.split(os.environ.get("CFLAGS", "")), "-fPIC", "-shared"),
        # So that a module that is older than its source is noticed (responder/net/linux/compiled.py).
        f'-DSOURCE="{hashlib.sha256(source.read_bytes()).hexdigest()}"',
        *("-I", sysconfig.get_path("include"), "-o", str(made), str(source)),
        *shlex.split(os.environ.get("LDFLAGS", "")),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the user's compiler
    except OSError as error:
        print(f"not built: {error}", file=sys.stderr)
        return None
    if done.returncode:
        print(f"not built:\n{done.stderr}", file=sys.stderr)
        return None
    made.replace(target)  # a running daemon keeps the old one
    return target


if __name__ == "__main__":
    sys.exit(0 if build() else 1)

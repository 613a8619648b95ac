"""What tests need of the machine, by the markers that say so, and whether they may do without.

    @pytest.mark.lab              root and Linux network namespaces
    @pytest.mark.windows          Wine, and the Windows Python of tests/windows, or what builds it
    @pytest.mark.clients("dig")   these client programs
    @pytest.mark.ipv6             the address ::1
    @pytest.mark.index            a package index that pip reaches

What can't run here is skipped, and says what is missing.  `RESPONDER_TEST_REQUIRE=lab,windows,clients,ipv6,index` makes
a failure of it, so that CI can't pass by skipping.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import NoReturn

import pytest


@cache
def lacks_lab() -> str | None:
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("ip") is None:
        return "the program ip is missing (Debian: iproute2)"
    # Root in a container may still not be allowed to: try what the lab does first.
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no network namespaces: {tried.stderr.strip()}"


@cache
def lacks_windows() -> str | None:
    if sys.platform == "win32":
        return "Wine is not for Windows itself, where tests/windows/native runs by itself"
    for program, package in (
        ("wine", "wine"),
        ("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64-win32"),
        ("unzip", "unzip"),
    ):
        if shutil.which(program) is None:
            return f"the program {program} is missing (Debian: {package})"
    return None


@cache
def lacks_ipv6() -> str | None:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError as error:
        return f"no address ::1: {error.strerror}"
    return None


@cache
def lacks_index() -> str | None:
    """Tried with what building the project takes first."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "0", "--timeout", "15"]
        tried = subprocess.run([*pip, "--dest", folder, "hatchling"], capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return None
    return f"pip reaches no package index: {tried.stderr.strip().splitlines()[-1]}"


@cache
def lacks_compiled() -> str | None:
    """For modules of tests, which are skipped as a whole: most of their imports need it."""
    if sys.platform != "linux":
        return "Linux only"
    if find_spec("responder.net.linux._native") is None:
        return "the compiled module was not built"
    return None


def lacks_clients(*programs: str) -> str | None:
    missing = [program for program in programs if shutil.which(program) is None]
    return f"missing: {', '.join(missing)}" if missing else None


CHECKS: dict[str, Callable[..., str | None]] = {
    "lab": lacks_lab,
    "windows": lacks_windows,
    "clients": lacks_clients,
    "ipv6": lacks_ipv6,
    "index": lacks_index,
}


def required() -> frozenset[str]:
    """The kinds that must run.  Raises UsageError for a name that is none: a typo would make CI pass by skipping."""
    names = frozenset(filter(None, (name.strip() for name in os.environ.get("RESPONDER_TEST_REQUIRE", "").split(","))))
    if unknown := names - CHECKS.keys():
        raise pytest.UsageError(
            f"RESPONDER_TEST_REQUIRE: {', '.join(sorted(unknown))}: expected some of {', '.join(CHECKS)}"
        )
    return names


def skip_or_fail(kind: str, reason: str) -> NoReturn:
    """End the test for want of something of that kind."""
    message = f"{kind}: {reason}"
    if kind in required():
        pytest.fail(f"{message} (RESPONDER_TEST_REQUIRE names {kind})", pytrace=False)
    pytest.skip(message)


def check(item: pytest.Item) -> None:
    """Skip a test, or fail it, where something is missing that its markers name."""
    for kind, lacks in CHECKS.items():
        for marker in item.iter_markers(kind):
            if reason := lacks(*marker.args):
                skip_or_fail(kind, reason)

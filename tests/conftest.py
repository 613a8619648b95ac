"""What the whole test suite shares: skips with their reasons, and `RESPONDER_TEST_REQUIRE`, which forbids them.

    @pytest.mark.lab              root and Linux network namespaces
    @pytest.mark.windows          Wine and a mingw-w64 compiler, for the Windows Python of tests/windows
    @pytest.mark.clients("dig")   these client programs

What can't run here is skipped, and says what is missing.  `RESPONDER_TEST_REQUIRE=lab,windows,clients` makes a failure
of it, so that CI can't pass by skipping.  This file refuses to know what the tests do with any of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import settings

# How long an example takes on a loaded machine says nothing about the code.
settings.register_profile("responder", deadline=None)
settings.load_profile("responder")

KINDS = ("lab", "windows", "clients")


@cache
def lacks_for_lab() -> str | None:
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
def lacks_for_windows() -> str | None:
    if sys.platform == "win32":
        return None
    for program, package in (
        ("wine", "wine"),
        ("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64-win32"),
        ("unzip", "unzip"),
    ):
        if shutil.which(program) is None:
            return f"the program {program} is missing (Debian: {package})"
    return None


def lacks_for_clients(*programs: str) -> str | None:
    missing = [program for program in programs if shutil.which(program) is None]
    return f"missing: {', '.join(missing)}" if missing else None


CHECKS: dict[str, Callable[..., str | None]] = {
    "lab": lacks_for_lab,
    "windows": lacks_for_windows,
    "clients": lacks_for_clients,
}


def required() -> frozenset[str]:
    """The kinds that must run.  Raises UsageError for a name that is none: a typo would make CI pass by skipping."""
    names = frozenset(filter(None, (name.strip() for name in os.environ.get("RESPONDER_TEST_REQUIRE", "").split(","))))
    if unknown := names - set(KINDS):
        raise pytest.UsageError(f"RESPONDER_TEST_REQUIRE: {', '.join(sorted(unknown))}: expected some of {KINDS}")
    return names


def pytest_configure(config: pytest.Config) -> None:
    required()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for kind, check in CHECKS.items():
        for marker in item.iter_markers(kind):
            if reason := check(*marker.args):
                message = f"{kind}: {reason}"
                if kind in required():
                    pytest.fail(f"{message} (RESPONDER_TEST_REQUIRE names {kind})", pytrace=False)
                pytest.skip(message)

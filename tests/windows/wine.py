"""The Windows Python of these tests: built once into a cache folder, outside of the checkout, and run under Wine.

`RESPONDER_WINDOWS` names the folder; otherwise it is in the user's cache, under a name that changes with the kit's
files and the project's dependencies, so that a stale one is never used.

    windows = WindowsPython.build()
    with windows.machine(namespace) as machine:
        print(machine.run("-c", "print('hello')").stdout)

A `Machine` is a Windows of its own: a copy of the kit's Wine prefix with its own Wine server, in a network namespace or
in the host's, all of which ends with the context.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import attrs

from tests.lab.daemon import Child
from tests.lab.namespaces import Namespace
from tests.requirements import lacks_windows, skip_or_fail

CHECKOUT = Path(__file__).parents[2]
KIT = Path(__file__).parent / "kit"
WINESERVER = "/usr/lib/wine/wineserver"
BUILD_TIMEOUT = 900  # seconds
BOUND = 120.0
"""Seconds for anything that a child has to do: the first start, on a loaded machine, compiles everything."""


def kit_folder() -> Path:
    if chosen := os.environ.get("RESPONDER_WINDOWS"):
        return Path(chosen)
    digest = hashlib.sha256(sys.version.encode())
    for file in sorted(KIT.iterdir()):
        digest.update(file.read_bytes())
    dependencies = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["dependencies"]
    digest.update(repr(dependencies).encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "responderd" / f"windows-{digest.hexdigest()[:12]}"


_numbers = itertools.count(1)


@attrs.frozen
class WindowsPython:
    folder: Path

    @classmethod
    def build(cls) -> WindowsPython:
        """Built where it is not yet there.  Skips the test where that can't be, unless Windows' tests are required."""
        if reason := lacks_windows():
            skip_or_fail("windows", reason)
        try:
            return cls._built()
        except subprocess.CalledProcessError as error:
            said = error.stdout.strip().splitlines()
            skip_or_fail("windows", f"the kit can't be built: {said[-1] if said else error}")

    @classmethod
    def _built(cls) -> WindowsPython:
        """Raises CalledProcessError, with what the script said."""
        folder = kit_folder()
        if not (folder / "ready").exists():
            # The interpreter below any virtual environment has the standard library that the script copies.
            python = Path(sys.base_prefix) / "bin" / "python3"
            subprocess.run(
                [KIT / "setup.sh", folder],
                env={**os.environ, "PYTHON": str(python), "PIP_PYTHON": sys.executable},
                check=True,
                timeout=BUILD_TIMEOUT,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        windows = cls(folder)
        windows._write_metadata()
        windows._remove_leftovers()
        return windows

    def _write_metadata(self) -> None:
        """What an installation of the project would have beside its code: without it no plugin would be found."""
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
        groups = {"console_scripts": project["scripts"], **project["entry-points"]}
        lines = [f"[{group}]\n{_lines(entries)}" for group, entries in groups.items()]
        folder = self.folder / "metadata" / f"{project['name']}-{project['version']}.dist-info"
        for before in set(folder.parent.glob("*.dist-info")) - {folder}:  # of another version, which may be found first
            shutil.rmtree(before)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "entry_points.txt").write_text("\n".join(lines))
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )

    def _remove_leftovers(self) -> None:
        """End and remove the machines of test runs that were killed."""
        for prefix in self.folder.glob("prefix-*-*"):
            owner = prefix.name.split("-")[1]
            if owner.isdigit() and not Path("/proc", owner).exists():
                _end(prefix)

    def machine(self, namespace: Namespace | None = None, *, control_data: bool = True) -> Machine:
        """Without `control_data` it is plain Wine, whose WSASendMsg ignores the source."""
        return Machine(self.folder, namespace, control_data)


INHERITED_NOT = ("PYTHON", "PYTEST", "RESPONDER_TEST")
"""Beginnings of the names of variables that a Windows Python does not get from us."""


class Machine:
    """A Windows in a network namespace (None: the host's).  A context manager: leaving it ends all that runs on it."""

    def __init__(self, folder: Path, namespace: Namespace | None, control_data: bool) -> None:
        self._python = folder / "py" / "python.exe"
        self._kit_prefix = folder / "prefix"
        self.prefix = folder / f"prefix-{os.getpid()}-{next(_numbers)}"
        self.namespace = namespace
        drive = f"Z:{CHECKOUT}"
        self.environment = {
            # Without RESPONDER_TEST_REQUIRE: the lab is Linux's, and can't be had in there.
            **{name: value for name, value in os.environ.items() if not name.startswith(INHERITED_NOT)},
            "PYTHONPATH": f"{drive};{drive}/plugins;Z:{folder}/metadata",
            "PYTHONPYCACHEPREFIX": f"Z:{folder}/pycache",  # nothing is written into the checkout
            "WSASENDMSG_SHIM": "1" if control_data else "0",
            "WINEPREFIX": str(self.prefix),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree,mshtml=;winemenubuilder.exe=d",
        }
        self.environment.pop("DISPLAY", None)

    def __enter__(self) -> Self:
        shutil.copytree(self._kit_prefix, self.prefix, symlinks=True)
        self._boot()
        return self

    def _boot(self, stderr: IO[str] | int = subprocess.DEVNULL) -> None:
        # A server that stays, for it is what has the sockets; and the system's services, started with no stream of
        # ours: they would hold a pipe open that one of our programs gave them, and its reader would wait for them.
        subprocess.run(self._argv(WINESERVER, "-p"), env=self.environment, check=True, timeout=60)
        self.program("cmd", "/c", "exit", stderr=stderr)

    def program(self, *argv: str, stderr: IO[str] | int = subprocess.DEVNULL) -> None:
        """Run one of Wine's own programs, without streams but that one.  Raises CalledProcessError."""
        subprocess.run(
            self._argv("wine", *argv),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            check=True,
            timeout=120,
        )

    def reboot(self, stderr: IO[str] | int = subprocess.DEVNULL) -> None:
        """End all that runs on it, and start it again: its services then see what has changed in the registry.

        `stderr` takes what the services tell by the channels of WINEDEBUG.
        """
        subprocess.run([WINESERVER, "-k", "-w"], env=self.environment, check=False, timeout=60)
        self._boot(stderr)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _end(self.prefix)

    def _argv(self, *argv: str) -> list[str]:
        return list(argv) if self.namespace is None else self.namespace.argv(*argv)

    def argv(self, *arguments: str | Path) -> list[str]:
        """The command line of its Python, which runs under `environment`; the process becomes that Python."""
        return self._argv("wine", str(self._python), *map(str, arguments))

    def run(
        self, *arguments: str | Path, cwd: Path = CHECKOUT, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run its Python to the end; stdout and stderr apart.

        Raises TimeoutExpired after `timeout` seconds, and the Python is no more.  (Wine can't hand it a plain file as a
        standard stream: the start breaks.)
        """
        return subprocess.run(
            self.argv(*arguments),
            env=self.environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )

    def pythons(self) -> list[int]:
        """The process ids of its Pythons that run: each has the prefix in its environment."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # ended meanwhile
                mine = f"WINEPREFIX={self.prefix}".encode() in (folder / "environ").read_bytes().split(b"\0")
                if mine and b"python.exe" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
        return found

    def pytest(self, *files: Path, timeout: float = 600) -> tuple[int, str]:
        """Run the tests of files in its Python: (pytest's status, what it printed)."""
        names = [str(file.relative_to(CHECKOUT)) for file in files]
        done = self.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *names, timeout=timeout)
        return done.returncode, done.stdout + done.stderr

    def passes(self, *files: Path) -> str:
        """Assert that the tests of files pass in its Python, and return what pytest printed."""
        status, output = self.pytest(*files)
        assert status == 0, output
        assert " passed" in output
        return output

    def child(self, arguments: Sequence[str | Path], *, cwd: Path) -> Child:
        """Its Python as a child that says "ready", and is stopped by Ctrl-C: that is what Wine makes of SIGINT."""
        if self.namespace is None:
            raise ValueError("a child is for a machine in a namespace")
        argv = ("wine", str(self._python), *map(str, arguments))
        return Child(self.namespace, argv, cwd=cwd, environment=self.environment, stop_by=signal.SIGINT, bound=BOUND)

    def daemon(self, config: Path) -> Child:
        """`responderd run CONFIG`, with the config's folder as its working folder."""
        return self.child(("-m", "responder", "run", config.name), cwd=config.parent)


def _end(prefix: Path) -> None:
    """End what runs on a Wine prefix, and remove it."""
    subprocess.run([WINESERVER, "-k", "-w"], env={**os.environ, "WINEPREFIX": str(prefix)}, check=False, timeout=60)
    shutil.rmtree(prefix, ignore_errors=True)


def _lines(entries: dict[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in entries.items())

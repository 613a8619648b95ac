"""The Windows Python of these tests: built once into a cache folder, outside of the checkout, and run under Wine.

`RESPONDER_WINDOWS` names the folder; otherwise it is in the user's cache, under a name that changes with the kit's
files and the project's dependencies, so that a stale one is never used.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import attrs

CHECKOUT = Path(__file__).parents[2]
KIT = Path(__file__).parent / "kit"
BUILD_TIMEOUT = 900  # seconds


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


@attrs.frozen
class WindowsPython:
    folder: Path

    @classmethod
    def build(cls) -> WindowsPython:
        """Raises CalledProcessError, with what the script said."""
        folder = kit_folder()
        if not (folder / "ready").exists():
            # The interpreter below any virtual environment has the standard library that the script copies.
            python = Path(sys.base_prefix) / "bin" / "python3"
            subprocess.run(
                [KIT / "setup.sh", folder],
                env={**os.environ, "PYTHON": str(python)},
                check=True,
                timeout=BUILD_TIMEOUT,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        return cls(folder)

    def environment(self, namespace: str | None = None, *, control_data: bool = True) -> dict[str, str]:
        """For `folder/run.sh`.  Without `control_data` it is plain Wine, whose WSASendMsg ignores the source."""
        drive = f"Z:{CHECKOUT}"
        self._write_metadata()
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))},
            "PYTHONPATH": f"{drive};{drive}/plugins;Z:{self.folder}/metadata",
            "PYTHONDONTWRITEBYTECODE": "1",
            "WSASENDMSG_SHIM": "1" if control_data else "0",
            **({"NETNS": namespace} if namespace else {}),
        }

    def _write_metadata(self) -> None:
        """What an installation of the project would have beside its code: without it no plugin would be found."""
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
        lines = [f"[{group}]\n{_lines(entries)}" for group, entries in project["entry-points"].items()]
        folder = self.folder / "metadata" / f"{project['name']}-{project['version']}.dist-info"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "entry_points.txt").write_text("\n".join(lines))
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )

    def run(
        self, *arguments: str | Path, namespace: str | None = None, control_data: bool = True, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run the Windows Python to its end; stderr is in stdout.  `timeout` in seconds."""
        return subprocess.run(
            [self.folder / "run.sh", *arguments],
            env=self.environment(namespace, control_data=control_data),
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            timeout=timeout,
            text=True,
            check=False,
        )

    def forget(self, namespace: str) -> None:
        """End what runs in a namespace's Wine, and remove its prefix."""
        prefix = self.folder / f"prefix-{namespace}"
        if not prefix.exists():
            return
        subprocess.run(
            ["/usr/lib/wine/wineserver", "-k"], env={**os.environ, "WINEPREFIX": str(prefix)}, check=False, timeout=60
        )
        subprocess.run(["rm", "-rf", prefix], check=True, timeout=60)


def _lines(entries: dict[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in entries.items())

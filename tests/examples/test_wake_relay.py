"""The example plugin: its own tests pass, and its configs are right.  Installed by pip it is in tests/installed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from responder.testing import instances

PROJECT = Path(__file__).parents[2] / "examples" / "wake-relay"
CONFIGS = [
    (PROJECT / "wake-relay.toml").read_text(encoding="utf-8"),
    *re.findall(r"^```toml\n(.*?)^```$", (PROJECT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE),
]


def test_its_own_tests_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore:Module already", str(PROJECT)],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_its_readme_has_all_sections() -> None:
    headings = re.findall(r"^## (.+)$", (PROJECT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == ["Name", "Description", "Configuration", "Examples", "Standards", "Security"]


@pytest.mark.parametrize("config", CONFIGS)
def test_its_configs_are_right(config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"{name} = {value}" for name, value in project["entry-points"]["responder.plugins"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[responder.plugins]", *lines, ""]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(PROJECT)
    (instance,) = instances(config, folder=tmp_path)
    assert instance.name == "wake-relay"

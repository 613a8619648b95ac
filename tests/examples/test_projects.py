"""The example plugins: their own tests pass, and their configs are right.  One is installed in tests/installed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from responder.testing import instances

EXAMPLES = Path(__file__).parents[2] / "examples"
PROJECTS = sorted(file.parent.name for file in EXAMPLES.glob("*/pyproject.toml"))


def configs(name: str) -> list[str]:
    readme = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```toml\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    return [(EXAMPLES / name / f"{name}.toml").read_text(encoding="utf-8"), *shown]


def test_there_are_some() -> None:
    assert {"coap-disk", "settings", "wake-relay"} <= set(PROJECTS)


@pytest.mark.parametrize("name", PROJECTS)
def test_its_own_tests_pass(name: str) -> None:
    project = EXAMPLES / name
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore:Module already", str(project)],
        capture_output=True,
        text=True,
        cwd=project,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize("name", PROJECTS)
def test_its_readme_has_all_sections(name: str) -> None:
    headings = re.findall(r"^## (.+)$", (EXAMPLES / name / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == ["Name", "Description", "Configuration", "Examples", "Standards", "Security"]


@pytest.mark.parametrize(("name", "config"), [(name, config) for name in PROJECTS for config in configs(name)])
def test_its_configs_are_right(name: str, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"{name} = {value}" for name, value in project["entry-points"]["responder.plugins"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[responder.plugins]", *lines, ""]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES / name)
    (instance,) = instances(config, folder=tmp_path)
    assert instance.name == name

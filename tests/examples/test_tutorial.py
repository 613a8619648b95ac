"""The tutorial's code does what the tutorial says: each section's tests run on all code up to there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from responder.config.instance import INSTANCE_KEYS
from responder.testing import options
from tests.tutorial import SECTIONS, TUTORIAL, blocks, is_test, step

WITH_CODE = [number for number, section in enumerate(SECTIONS) if blocks(section, "python")]


def test_every_section_with_code_has_tests() -> None:
    assert len(WITH_CODE) == 10
    for number in WITH_CODE:
        assert any(map(is_test, ast.parse(step(number)).body))


def test_the_code_runs_and_its_tests_pass(tmp_path: Path) -> None:
    for number in WITH_CODE:
        (tmp_path / f"test_step_{number}.py").write_text(step(number), encoding="utf-8")
    ini = "[pytest]\ntrio_mode = true\nfilterwarnings =\n    error\n    ignore:Module already imported\n"
    (tmp_path / "pytest.ini").write_text(ini)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b1[67] passed", done.stdout)  # one more where there is IPv6


def test_its_config_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("tutorial")
    monkeypatch.setitem(sys.modules, "tutorial", module)  # attrs looks names of types up there
    exec(compile(step(1), "tutorial.md", "exec"), vars(module))  # noqa: S102 - our own tutorial
    configs = [tomllib.loads(block) for section in SECTIONS for block in blocks(section, "toml")]
    tables = [config["plugins"]["daytime"] for config in configs if "plugins" in config]
    assert tables
    for table in tables:
        options(module.Daytime, **{key: value for key, value in table.items() if key not in INSTANCE_KEYS})


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", TUTORIAL.read_text(encoding="utf-8")))
def test_its_links_lead_somewhere(target: str) -> None:
    assert (TUTORIAL.parent / target).exists()

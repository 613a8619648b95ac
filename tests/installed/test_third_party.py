"""Plugins of others, installed and removed with pip: commands follow, and a broken one stops nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from .readme import CHECKOUT
from .venv import Venv

pytestmark = pytest.mark.index

BROKEN = {
    "unimportable": "import a_module_that_is_not_there",
    "contractless": "class Plugin: pass",
    "of-tomorrow": """
        import attrs
        from responder import Plugin, Service
        @attrs.frozen
        class Plugin(Plugin):
            api = 99
            services = (Service(port=7007),)
        """,
    "undecorated": """
        import responder
        class Plugin(responder.Plugin):
            services = (responder.Service(port=7007),)
        """,
}

REASONS = {
    "unimportable": "can't be imported: ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
    "contractless": "is no subclass of responder.Plugin",
    "of-tomorrow": "it is written for version 99 of the plugin contract, this is version 1",
    "undecorated": "Plugin is no attrs class: decorate it with attrs.frozen",
}


def project(folder: Path) -> str:
    """A distribution with every broken plugin in it."""
    folder.mkdir()
    entries = []
    for name, source in BROKEN.items():
        module = f"broken_{name.replace('-', '_')}"
        (folder / f"{module}.py").write_text(dedent(source))
        entries.append(f'{name} = "{module}:Plugin"')
    (folder / "pyproject.toml").write_text(
        "\n".join(
            [
                '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"',
                '[project]\nname = "broken-plugins"\nversion = "6.6"',
                '[project.entry-points."responder.plugins"]',
                *entries,
                '[tool.hatch.build.targets.wheel]\ninclude = ["*.py"]',
            ]
        )
    )
    return str(folder)


@pytest.fixture(scope="module")
def broken(venv: Venv) -> Iterator[None]:
    venv.pip("install", "--no-deps", project(venv.work / "broken"))
    yield
    venv.pip("uninstall", "--yes", "broken-plugins")


def listed(venv: Venv) -> dict[str, dict[str, Any]]:
    done = venv.run("responderd", "plugins", "--json")
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}


def check(venv: Venv, config: str) -> tuple[int, str]:
    file = venv.work / "some.toml"
    file.write_text(config)
    done = venv.run("responderd", "check", file)
    return done.returncode, done.stderr


def test_a_plugin_comes_and_goes_with_pip(venv: Venv) -> None:
    example = CHECKOUT / "examples" / "wake-relay"
    config = (example / "wake-relay.toml").read_text()
    assert "wake-relay" not in listed(venv)
    status, said = check(venv, config)
    assert status == 2
    assert "no plugin 'wake-relay' is installed" in said
    venv.pip("install", "--no-deps", str(example))
    try:
        row = listed(venv)["wake-relay"]
        assert (row["distribution"], row["version"], row["error"]) == ("responder-wake-relay", "0.1.0", None)
        assert check(venv, config)[0] == 0
        status, said = check(venv, config.replace("machines =", "hold = 'soon'\nmachines ="))
        assert status == 2
        assert "plugins.wake-relay.hold: expected a duration such as '30s'" in said
    finally:
        venv.pip("uninstall", "--yes", "responder-wake-relay")
    assert "wake-relay" not in listed(venv)
    assert check(venv, config)[0] == 2


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_is_named_with_its_distribution_and_the_reason(venv: Venv, name: str) -> None:
    error = listed(venv)[name]["error"]
    assert f"plugin '{name}' of broken-plugins 6.6" in error
    assert REASONS[name] in error
    status, said = check(venv, f"[plugins.{name}]\nport = 7007\n")
    assert status == 2
    assert REASONS[name] in said


@pytest.mark.usefixtures("broken")
def test_it_stops_nobody_else(venv: Venv) -> None:
    assert listed(venv)["echo"]["error"] is None
    assert check(venv, "[plugins.echo]\nport = 7007\n") == (0, "")

"""The READMEs keep their promises: examples are accepted, commands are the ones that CI runs, plugins are described."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from responder.config.reading import parse
from responder.datagram import Datagram, Interface, Peer

ROOT = Path(__file__).parent.parent
PLUGINS = sorted(
    path.parent
    for path in (ROOT / "plugins" / "responder_plugins").glob("*/__init__.py")
    if path.parent.name != "shared"  # what plugins have in common is no plugin
)
READMES = [ROOT / "README.md", *(folder / "README.md" for folder in PLUGINS)]
SECTIONS = ["Name", "Description", "Configuration", "Examples", "Standards", "Security"]


def blocks(readme: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", readme.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


CONFIGS = [
    pytest.param(block, id=f"{readme.parent.name}-{number}")
    for readme in READMES
    for number, block in enumerate(blocks(readme, "toml"))
]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_example_is_accepted(config: str, tmp_path: Path) -> None:
    assert parse(config, file=None, folder=tmp_path).instances


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_every_plugin_has_its_readme_and_its_line_in_the_index(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert blocks(folder / "README.md", "toml"), "an example config"
    index = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")
    assert f"(responder_plugins/{folder.name}/README.md)" in index


def test_the_plugin_of_the_readme_answers() -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    # A module of its own, as a reader's file would be: attrs looks names up there.
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - our own README
    plugin = names["Greeter"]()  # type: ignore[operator]  # what the README names is a class
    request = Datagram(b"", Peer("192.0.2.77", 40000), "192.0.2.1", Interface(2, "eth0"), port=7007)
    assert plugin.respond(request) == b"hello: 192.0.2.1 on eth0"


def test_the_two_commands_are_there_and_ci_runs_the_second() -> None:
    commands = re.findall(r"^    (python3 -m venv .*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert commands == [
        "python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/responderd run",
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest",
    ]
    ci = (ROOT / ".ci" / "part").read_text(encoding="utf-8")
    assert "README.md" in ci
    assert "pip install" not in ci


@pytest.mark.parametrize("paper", ["README.md", "CONTRIBUTING.md", "plugins/README.md"])
def test_links_within_the_project_lead_somewhere(paper: str) -> None:
    text = (ROOT / paper).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / paper).parent.joinpath(target).exists()] == []

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
MANUAL = sorted((ROOT / "docs").glob("*.md"))
TUTORIAL = ROOT / "docs" / "writing-a-plugin.md"  # its plugin is not installed; tests/examples/test_tutorial.py runs it
READMES = [
    ROOT / "README.md",
    *(folder / "README.md" for folder in PLUGINS),
    *(page for page in MANUAL if page != TUTORIAL),
]
SECTIONS = ["Name", "Description", "Configuration", "Examples", "Standards", "Security"]


def blocks(readme: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", readme.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


CONFIGS = [
    pytest.param(block, id=f"{readme.parent.name}-{readme.stem}-{number}")
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
    assert f"`{folder.name}`" in (ROOT / "README.md").read_text(encoding="utf-8").partition("## Serve a zone")[0]


def test_the_readme_is_read_in_five_minutes() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 132


def test_the_plugin_of_the_readme_answers() -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    # A module of its own, as a reader's file would be: attrs looks names up there.
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - our own README
    plugin = names["Greeter"]()  # type: ignore[operator]  # what the README names is a class
    request = Datagram(b"", Peer("192.0.2.77", 40000), "192.0.2.1", Interface(2, "eth0"), port=7007)
    assert plugin.respond(request) == b"hello: 192.0.2.1 on eth0"


def test_the_two_commands_are_there_and_ci_runs_the_second() -> None:
    commands = re.findall(
        r"^    (python3 -m venv \.venv .*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert commands == [
        "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/responderd run",
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest",
    ]
    ci = (ROOT / ".ci" / "part").read_text(encoding="utf-8")
    assert "README.md" in ci
    assert "pip install" not in ci


@pytest.mark.parametrize(
    "paper", ["README.md", "CONTRIBUTING.md", "plugins/README.md", *(f"docs/{page.name}" for page in MANUAL)]
)
def test_links_within_the_project_lead_somewhere(paper: str) -> None:
    text = (ROOT / paper).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    # What is generated is there once the manual is built, which fails where a page is missing.
    targets = [target for target in targets if not target.startswith("generated/")]
    assert [target for target in targets if not (ROOT / paper).parent.joinpath(target).exists()] == []

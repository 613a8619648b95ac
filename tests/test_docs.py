"""The manual is built without a warning, and has a page for everything that the program has."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape
from importlib import import_module
from inspect import isroutine
from pathlib import Path

import attrs
import click
import pytest

from responder.cli import main
from responder.config import reference, registry
from responder.config.daemon_options import DaemonOptions
from responder.config.instance import INSTANCE_KEYS
from responder.dispatch.outcomes import OUTCOMES

ROOT = Path(__file__).parent.parent
PUBLIC = ("responder", "responder.testing")
BUNDLED = sorted(name for name, entry in registry.installed().items() if entry.distribution == "responderd")


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built manual, by the command that CONTRIBUTING.md gives, into a folder of the test's own."""
    (options,) = re.findall(
        r"^    \.venv/bin/sphinx-build (.*) docs build/manual$",
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert "-W" in options.split()
    folder = tmp_path_factory.mktemp("manual")
    command = [sys.executable, "-m", "sphinx", *options.split(), "-d", str(folder / "cache"), "docs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def text(page: Path) -> str:
    return unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_every_public_name_is_on_the_api_page_and_says_what_it_is(manual: Path) -> None:
    page = (manual / "api.html").read_text(encoding="utf-8")
    for name in PUBLIC:
        module = import_module(name)
        for public in module.__all__:
            if public.startswith("__"):
                continue
            assert f'id="{name}.{public}"' in page, f"{name}.{public} is not on the page"
            value = getattr(module, public)
            if isinstance(value, type) or isroutine(value):
                assert (value.__doc__ or "").strip(), f"{name}.{public} has no docstring"
            else:
                (said,) = re.findall(rf'id="{re.escape(name)}\.{public}">.*?</dt>\s*<dd>(.*?)</dd>', page, re.DOTALL)
                assert re.sub(r"<[^>]+>", "", said).strip(), f"{name}.{public} says nothing"


def test_every_key_is_on_the_page_of_the_configuration(manual: Path) -> None:
    page = text(manual / "configuration.html")
    for key in (*INSTANCE_KEYS, *(field.name for field in attrs.fields(DaemonOptions))):
        assert re.search(rf"^{key} \(", page, re.MULTILINE), key


@pytest.mark.parametrize("name", BUNDLED)
def test_every_option_is_on_the_page_of_its_plugin_and_described(manual: Path, name: str) -> None:
    page = text(manual / "generated" / "plugins" / f"{name}.html")
    cls = registry.find(name).load()
    tables = [("", reference.options_of(cls)), *reference.tables_of(cls)]
    for where, options in tables:
        assert where in page
        for option in options:
            assert re.search(rf"^{option.name} \(", page, re.MULTILINE), option.name
            assert option.description, f"{name}: {where} {option.name} is not described"


def test_every_outcome_and_metric_is_on_the_page_for_operators(manual: Path) -> None:
    page = text(manual / "operating.html")
    for outcome in OUTCOMES:
        (said,) = re.findall(rf"^{outcome}\n(.*)$", page, re.MULTILINE)
        assert len(said) > 5, f"{outcome} is not explained"
    source = (ROOT / "responder" / "daemon" / "prometheus.py").read_text(encoding="utf-8")
    metrics = set(re.findall(r'"(responderd_\w+)"', source))
    assert metrics
    assert {name for name in metrics if name not in page} == set()


def test_every_command_is_on_its_page(manual: Path) -> None:
    page = text(manual / "generated" / "commands.html")
    done = subprocess.run(
        [sys.executable, "-m", "responder", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    names = re.findall(r"^  ([a-z]+)  ", done.stdout.partition("Commands:")[2], re.MULTILINE)
    assert len(names) > 10
    assert [name for name in names if f"responderd {name}" not in page] == []


def test_every_command_that_is_shown_is_there() -> None:
    context = click.Context(main)
    line = re.compile(r"^(?: {4}\$? ?|\$ )\S*\bresponderd ([a-z]+)\b", re.MULTILINE)
    shown = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "plugins").rglob("README.md")):
        shown |= {(page.name, word) for word in line.findall(page.read_text(encoding="utf-8"))}
    assert ("README.md", "status") in shown
    assert {(page, word) for page, word in shown if main.get_command(context, word) is None} == set()

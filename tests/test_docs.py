"""The manual is built without a warning, and has a page for everything that the program has."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from html import unescape
from importlib import import_module
from inspect import isroutine
from itertools import takewhile
from pathlib import Path
from unittest import mock

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


def parse(arguments: list[str]) -> None:
    """Read a command line as the program does, and run nothing.  Raises click.UsageError."""
    with mock.patch.object(click.Command, "invoke"), main.make_context("responderd", arguments) as context:
        main.invoke(context)


def arguments_of(line: str) -> list[str]:
    """Of a shell's line that calls the program, up to what is the shell's own."""
    words = shlex.shlex(line.partition("responderd ")[2], posix=True, punctuation_chars=True)
    words.whitespace_split = True
    return list(takewhile(lambda word: not set(word) <= set("&|;<>()"), words))


def test_every_command_line_that_is_shown_is_taken() -> None:
    shown, named, refused = set(), set(), []
    places = ("README.md", "docs/*.md", "plugins/**/README.md", "examples/*/README.md")
    for page in (page for place in places for page in ROOT.glob(place)):
        text = page.read_text(encoding="utf-8")
        shown |= set(re.findall(r"^(?: {4}\$? ?|\$ )((?:\S*/)?responderd [a-z].*)$", text, re.MULTILINE))
        named |= set(re.findall(r"`((?:\S*/)?responderd [a-z][^`]*)`", text))
    assert "responderd status --config site.toml" in shown
    assert "responderd plugins dns --example" in named
    for line in shown | named:
        try:
            parse(arguments_of(line))
        except click.UsageError as error:
            # What is only named may leave out what it is called with.
            if line in shown or not isinstance(error, click.MissingParameter):
                refused.append((line, error.format_message()))
    assert refused == []


@pytest.mark.parametrize(
    "line", ["nonsense", "dns exporttt example.test", "dns keys example.test --rolll csk", "dns ds", "top --nonsense"]
)
def test_a_command_line_that_the_program_refuses_would_show(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(arguments_of(f"responderd {line} | less  # as shown"))

"""Commands that plugins bring: found by entry point, imported when used, and nobody's trouble when broken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from responder.cli import main

from ..conftest import Install

GOOD = """
    import click

    @click.group()
    def good():
        "Does good."

    @good.command()
    @click.argument("word")
    def say(word):
        click.echo(f"said {word}")
"""
BROKEN = "raise RuntimeError('no such library')"
OTHER = "run = broken = 7"


@pytest.fixture(autouse=True)
def _commands(install: Install, tmp_path: Path) -> None:
    for distribution, source, commands in (
        ("alpha", GOOD, ["good = alpha_module:good"]),
        ("beta", BROKEN, ["broken = beta_module:broken"]),
        ("gamma", OTHER, ["number = gamma_module:broken", "run = gamma_module:run"]),
    ):
        install(distribution, source)
        entries = tmp_path / "site" / f"{distribution}-1.2.dist-info" / "entry_points.txt"
        entries.write_text("\n".join(["[responder.commands]", *commands, ""]))


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_command_is_used_like_our_own() -> None:
    result = invoke("good", "say", "hello")
    assert (result.exit_code, result.output) == (0, "said hello\n")
    assert "Does good." in invoke("good", "--help").output


def test_help_names_them_and_imports_none() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for line in ("good", "broken", "(beta)"):
        assert line in result.output
    assert not {"alpha_module", "beta_module", "gamma_module"} & set(sys.modules)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "error: command 'broken' of beta can't be imported: RuntimeError: no such library\n"),
        ("number", "error: command 'number' of gamma is no click.Command: gamma_module:broken\n"),
    ],
)
def test_a_broken_one_is_named(name: str, message: str) -> None:
    result = invoke(name, "say", "hello")
    assert (result.exit_code, result.stderr) == (2, message)
    assert invoke("good", "say", "x").exit_code == 0


def test_none_can_take_the_place_of_our_own() -> None:
    assert "Serve what CONFIG says" in invoke("run", "--help").output
    assert "gamma_module" not in sys.modules


def test_of_two_with_one_name_one_is_used_and_both_are_named(install: Install, tmp_path: Path) -> None:
    install("zeta", GOOD)
    entries = tmp_path / "site" / "zeta-1.2.dist-info" / "entry_points.txt"
    entries.write_text("[responder.commands]\ngood = zeta_module:good\n")
    result = invoke("good", "say", "hello")
    assert (result.exit_code, result.stdout) == (0, "said hello\n")
    assert result.stderr == "warning: command 'good' of alpha is used; zeta has one of that name too\n"
    assert "zeta_module" not in sys.modules
    assert "(alpha, zeta)" in invoke("--help").output


def test_what_nobody_brings() -> None:
    assert invoke("nothing").exit_code == 2

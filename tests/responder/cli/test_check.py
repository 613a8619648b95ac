"""`responderd check`: all mistakes at once, and nothing is bound."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from responder import net
from responder.config import registry
from responder.net import firewall, handover
from tests.fakes import FakePlatform

from .support import Write, call

pytestmark = pytest.mark.usefixtures("alpha")


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "platform", FakePlatform)


def test_check_says_ok(write: Write, tmp_path: Path) -> None:
    (tmp_path / "a.zone").touch()
    file = write("[plugins.sign]\nzone = 'a.zone'\ninterfaces = ['wlan*', 'lo']\n[plugins.echo]\n")
    result = call("check", file)
    assert result.exit_code == 0
    assert result.stdout == f"{file}: ok: 2 plugins (sign, echo)\n"
    assert result.stderr == "warning: plugins.sign.interfaces[0]: 'wlan*' matches no interface now\n"


def test_check_prints_each_mistake_on_a_line(write: Write) -> None:
    file = write("[plugins.sign]\nprot = 7\n[plugins.ecko]\n")
    result = call("check", file)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"error: {file}:2: plugins.sign.prot: unknown key; did you mean 'port'?",
        f"error: {file}:1: plugins.sign.zone: missing; expected a file name",
        f"error: {file}:3: plugins.ecko: no plugin 'ecko' is installed; did you mean 'echo'? "
        f"(installed: {', '.join(registry.installed())})",
    ]


def test_check_asks_every_plugin(write: Write, tmp_path: Path) -> None:
    file = write("[plugins.sign]\nzone = 'a.zone'\n[plugins.two]\n[plugins.echo]\n")
    result = call("check", file)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"error: {tmp_path / 'a.zone'}: plugins.sign: can't be read: No such file or directory",
        f"error: {file}:3: plugins.two: prepare failed: KeyError: 'k'",
    ]


def test_check_says_where_workers_cannot_be_had(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "why_not_shared", lambda: "not on this system")
    assert call("check", write("[daemon]\nworkers = 1\n[plugins.echo]\n")).exit_code == 0
    file = write("[daemon]\nworkers = 2\n[plugins.echo]\n")
    result = call("check", file)
    assert (result.exit_code, result.stderr) == (2, f"error: {file}:2: daemon.workers: not on this system\n")


def test_check_of_a_missing_file() -> None:
    result = call("check", "missing.toml")
    assert (result.exit_code, result.stderr) == (2, "error: missing.toml: can't be read: No such file or directory\n")


def test_check_reads_standard_input() -> None:
    result = call("check", "-", stdin="[plugins.echo]\n")
    assert (result.exit_code, result.stdout) == (0, "standard input: ok: 1 plugin (echo)\n")
    result = call("check", "-", stdin="[plugins.echo]\nprot = 7\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: standard input:2: plugins.echo.prot: unknown key; did you mean 'port'?\n"


def test_check_takes_the_option_too_and_either_once(write: Write) -> None:
    file = write("[plugins.echo]\n")
    assert call("check", "--config", file).stdout == call("check", file).stdout == f"{file}: ok: 1 plugin (echo)\n"
    assert call("check", "--config", file, file).exit_code == 2
    assert "Missing argument 'CONFIG'" in call("check").stderr


@pytest.mark.skipif(sys.platform == "win32", reason="users are POSIX'")
def test_check_finds_a_user_that_does_not_exist(write: Write) -> None:
    file = write("[daemon]\nuser = 'nobody-of-that-name'\n[plugins.echo]\nprot = 7\n")
    result = call("check", file)
    assert result.exit_code == 2
    assert sorted(result.stderr.splitlines()) == [
        f"error: {file}:2: daemon.user: this host has no user 'nobody-of-that-name'",
        f"error: {file}:4: plugins.echo.prot: unknown key; did you mean 'port'?",
    ]


def test_check_prints_a_warning_of_a_plugin_once() -> None:
    """In a process of its own: without anything that takes log lines, Python prints those."""
    config = Path(__file__).parents[2] / "cases" / "svcb-aliasmode" / "responderd.toml"
    done = subprocess.run(
        [sys.executable, "-m", "responder", "check", str(config)], capture_output=True, text=True, check=True
    )
    assert done.stderr.count("the parameters of an alias mean nothing") == 1


def test_check_warns_of_what_lets_nobody_ask(write: Write) -> None:
    result = call("check", write("[plugins.echo]\ndeny = ['0.0.0.0/0', '::/0']\n"))
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: plugins.echo: it is never asked: deny has all that might\n")


@pytest.mark.parametrize(
    ("config", "udp", "tcp"),
    [
        ("[plugins.echo]\nport = 7007\n", "7007", "7007"),
        ("[plugins.echo]\nport = 7007\nlisten = ['127.0.0.1', '::1']\n", "", ""),
        ("[plugins.echo]\nport = 7007\nlisten = ['127.0.0.1', '10.71.0.1']\n", "7007", "7007"),
        ("[daemon]\nmetrics = '0.0.0.0:9153'\n[plugins.whoami]\nport = 7008\n", "7008", "7008,9153"),
        ("[daemon]\nmetrics = ':9153'\n[plugins.whoami]\nport = 7008\n", "7008", "7008,9153"),
        ("[daemon]\nmetrics = '[::1]:9153'\n[plugins.whoami]\nport = 7008\n", "7008", "7008"),
    ],
)
def test_on_windows_check_tells_how_to_open_what_others_can_reach(
    write: Write, monkeypatch: pytest.MonkeyPatch, config: str, udp: str, tcp: str
) -> None:
    monkeypatch.setattr(firewall, "opening_commands", firewall.windows_commands)
    said = dict(re.findall("-Protocol ([A-Z]+) -LocalPort ([0-9,]+)", call("check", write(config)).stderr))
    assert (said.get("UDP", ""), said.get("TCP", "")) == (udp, tcp)

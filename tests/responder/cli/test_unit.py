"""`responderd unit`: systemd itself finds nothing to say against the units."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .support import call

UNITS = ("responderd.service", "responderd.socket")


def verified(folder: Path) -> list[str]:
    """What `systemd-analyze verify` says of our units there; what it says of the machine's others is left out."""
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(folder / unit) for unit in UNITS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return [line for line in (done.stdout + done.stderr).splitlines() if "responderd" in line]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as an operator has them."""
    (tmp_path / "responderd.service").write_text(call("unit").stdout)
    (tmp_path / "responderd.socket").write_text(call("unit", "--socket").stdout)
    return tmp_path


@pytest.mark.parametrize("path", ["/etc/a b.toml", "/etc/100%$HOME.toml", '/etc/"a\\b";.toml'])
def test_paths_are_words_as_systemd_reads_them(path: str, tmp_path: Path) -> None:
    (line,) = (line for line in call("unit", "--config", path).stdout.splitlines() if line.startswith("ExecStart="))
    program, command, config = shlex.split(line.removeprefix("ExecStart="))
    assert (program, command) == (str(Path(sys.executable).with_name("responderd")), "run")
    assert config.replace("%%", "%").replace("$$", "$") == path


def test_where_the_unit_would_not_see_the_program_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/home/me/venv/bin/python")
    assert "ProtectHome=yes hides it" in call("unit").stderr
    monkeypatch.setattr(sys, "executable", "/opt/responderd/bin/python")
    result = call("unit")
    assert result.stderr == ""
    assert "ExecStart=/opt/responderd/bin/responderd run /etc/responderd.toml\n" in result.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's buffers")
def test_the_ports_of_systemd_and_the_limits_have_the_buffers_that_the_daemon_asks_for() -> None:
    from responder.net.linux.platform import RECEIVE_BUFFER, SEND_BUFFER  # noqa: PLC0415 - Linux alone has it

    sockets, limits = call("unit", "--socket").stdout, call("unit", "--sysctl").stdout
    assert f"ReceiveBuffer={RECEIVE_BUFFER >> 20}M\nSendBuffer={SEND_BUFFER >> 20}M\n" in sockets
    assert [line for line in limits.splitlines() if line and not line.startswith("#")] == [
        f"net.core.rmem_max = {RECEIVE_BUFFER}",
        f"net.core.wmem_max = {SEND_BUFFER}",
    ]


@pytest.mark.clients("systemd-analyze")
def test_the_units_are_valid(units: Path) -> None:
    assert verified(units) == []


@pytest.mark.clients("systemd-analyze")
def test_a_mistake_in_a_unit_would_show(units: Path) -> None:
    unit = units / "responderd.service"
    unit.write_text(unit.read_text(encoding="utf-8").replace("RestrictRealtime=yes", "RestrictRealTime=yes"))
    assert [line for line in verified(units) if "RestrictRealTime" in line] != []


@pytest.mark.clients("systemd-analyze")
def test_the_service_is_shut_in(units: Path) -> None:
    # Of 10, where 10 is a service without any restriction; it reads the unit, not the machine.
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(units / "responderd.service")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout

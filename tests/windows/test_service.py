"""The daemon as a Windows service, under Wine's service manager: installed, started, reloaded, stopped, removed."""

from __future__ import annotations

import json
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab

from .wine import Machine, WindowsPython

pytestmark = [pytest.mark.windows, pytest.mark.lab]

PATIENCE = 100
"""Seconds that a process may take to begin: for a loaded machine."""

PROGRAM_DATA = "drive_c/ProgramData/responderd"

SET_UP = textwrap.dedent("""
    import os, winreg
    control = r"SYSTEM\\CurrentControlSet\\Control"
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, control, 0, winreg.KEY_SET_VALUE) as key:
        winreg.SetValueEx(key, "ServicesPipeTimeout", 0, winreg.REG_DWORD, PATIENCE_MS)
    environment = control + r"\\Session Manager\\Environment"
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, environment, 0, winreg.KEY_SET_VALUE) as key:
        for name in ("PYTHONPATH", "PYTHONPYCACHEPREFIX"):
            winreg.SetValueEx(key, name, 0, winreg.REG_SZ, os.environ[name])
    """).replace("PATIENCE_MS", str(1000 * PATIENCE))
"""A service has not the environment of who starts it, and an installed project would be found by itself."""


@pytest.fixture(scope="module")
def machine(windows: WindowsPython) -> Iterator[Machine]:
    with Lab() as lab:
        host, client = lab.namespace("host"), lab.namespace("client")
        lab.link(host, "link1", client, "link1")
        host.ip("addr add 10.71.0.1/24 dev link1")
        with windows.machine(host) as machine:
            assert machine.run("-c", SET_UP).returncode == 0
            machine.reboot()
            yield machine


def service(machine: Machine, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return machine.run("-m", "responder", "service", *arguments, timeout=120)


def status(machine: Machine) -> dict[str, object]:
    done = service(machine, "status", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def log(machine: Machine) -> list[dict[str, object]]:
    """The lines of the service's log file, which are then gone."""
    file = machine.prefix / PROGRAM_DATA / "logs" / "responderd.log"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return [json.loads(line) for line in lines]


ASK = textwrap.dedent("""
    import socket, sys
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.sendto(b"hello", ("127.0.0.1", int(sys.argv[1])))
        print(sock.recv(100).decode())
    """)

PARAMCHANGE = textwrap.dedent("""
    import ctypes
    advapi32 = ctypes.WinDLL("advapi32")
    for name in ("OpenSCManagerW", "OpenServiceW"):
        getattr(advapi32, name).restype = ctypes.c_void_p
    manager = advapi32.OpenSCManagerW(None, None, 1)
    service = advapi32.OpenServiceW(ctypes.c_void_p(manager), "responderd", 0xF01FF)
    assert advapi32.ControlService(ctypes.c_void_p(service), 6, ctypes.create_string_buffer(64))
    """)


def test_a_life_of_a_service(machine: Machine, tmp_path: Path) -> None:
    config = tmp_path / "echo.toml"
    config.write_text("[plugins.echo]\nport = 7007\n")
    installed = service(machine, "install", str(config))
    assert installed.returncode == 0, installed.stderr
    assert status(machine)["state"] == "stopped"
    again = service(machine, "install", str(config))
    assert (again.returncode, "already" in again.stderr) == (1, True), again

    started = service(machine, "start")
    assert (started.returncode, started.stdout) == (0, "service responderd: running\n"), (started, log(machine))
    found = status(machine)
    assert (found["state"], found["process"] != 0) == ("running", True)
    assert machine.run("-c", ASK, "7007").stdout == "hello\n"

    config.write_text("[plugins.echo]\nport = 7008\n")
    changed = machine.run("-c", PARAMCHANGE)
    assert changed.returncode == 0, changed.stderr
    assert machine.run("-c", ASK, "7008").stdout == "hello\n"

    stopped = service(machine, "stop")
    assert (stopped.returncode, stopped.stdout) == (0, "service responderd: stopped\n"), stopped
    lines = log(machine)
    assert [line["event"] for line in lines] == ["ready", "reloaded", "stopping", "stopped"]
    assert lines[2]["signal"] == "SERVICE_CONTROL_STOP"
    assert status(machine)["exit_status"] == 0

    removed = service(machine, "remove")
    assert removed.returncode == 0, removed.stderr
    assert service(machine, "status").returncode == 1


def test_it_is_to_be_started_again_where_it_fails(windows: WindowsPython, tmp_path: Path) -> None:
    """Wine's manager takes what it is told, and then neither knows nor does it: `native/` reads it back on Windows."""
    config, told = tmp_path / "echo.toml", tmp_path / "told"
    config.write_text("[plugins.echo]\nport = 7007\n")
    with windows.machine() as machine:
        machine.environment["WINEDEBUG"] = "-all,fixme+service"
        with told.open("w") as stderr:
            machine.reboot(stderr)
        installed = service(machine, "install", str(config))
    assert installed.returncode == 0, installed.stderr
    actions, flag = [line for line in told.read_text().splitlines() if "ChangeServiceConfig2W" in line]
    assert actions.endswith("SERVICE_CONFIG_FAILURE_ACTIONS not implemented: period 86400 msg (null) cmd (null)")
    assert flag.endswith("level 4 not implemented")


def test_what_can_not_start_says_so(machine: Machine, tmp_path: Path) -> None:
    config = tmp_path / "echo.toml"
    config.write_text("[plugins.echo]\nprot = 7007\n")
    refused = service(machine, "install", str(config))
    assert refused.returncode == 2
    assert "plugins.echo.prot" in refused.stderr

    config.write_text("[plugins.echo]\nport = 7007\n")
    assert service(machine, "install", str(config)).returncode == 0
    config.write_text("[plugins.echo]\nprot = 7007\n")
    started = service(machine, "start")
    # Wine's manager now and then takes a service that ends at once for one that never began (1053).
    assert started.returncode == 1, started
    assert "status 2" in started.stderr or "1053" in started.stderr, started
    until = time.monotonic() + PATIENCE
    while not (lines := log(machine)):  # what "never began" may still be beginning, on a busy machine
        assert time.monotonic() < until, started
        status(machine)
    assert "plugins.echo.prot" in str(lines[-1]["reason"])
    assert service(machine, "remove").returncode == 0


def test_nobody_but_the_manager_starts_it(machine: Machine, tmp_path: Path) -> None:
    done = service(machine, "serve-as", "responderd", str(tmp_path / "echo.toml"))
    assert done.returncode == 1
    assert "responderd service start" in done.stderr

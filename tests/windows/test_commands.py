"""The command `responderd` on Windows: run, check, plugins, interfaces; Ctrl-C, Ctrl-Break, the end of a session."""

from __future__ import annotations

import json
import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab
from tests.lab.operating import METRICS, get

from .wine import Machine, WindowsPython

pytestmark = [pytest.mark.windows, pytest.mark.lab]


@pytest.fixture(scope="module")
def alone(windows: WindowsPython) -> Iterator[Machine]:
    """A Windows in a namespace with one address beside the loopback's, where every port is free."""
    with Lab() as lab:
        host, client = lab.namespace("host"), lab.namespace("client")
        lab.link(host, "link1", client, "link1")
        host.ip("addr add 10.71.0.1/24 dev link1", "addr add fd71::1/64 dev link1 nodad")
        with windows.machine(host) as machine:
            yield machine


def responderd(machine: Machine, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return machine.run("-m", "responder", *arguments, cwd=folder, timeout=120)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "echo.toml"
    file.write_text('[plugins.echo]\nport = 7007\ngroups = ["239.255.70.7", "ff02::7007"]\n')
    return file


def test_ctrl_c_ends_the_daemon_gracefully(alone: Machine, config: Path) -> None:
    """SIGINT to a process of Wine's is Ctrl-C to the Windows program."""
    with alone.daemon(config) as child:
        assert child.stop() == 0
    assert [event["event"] for event in child.events] == ["ready", "stopping", "stopped"], child.said
    assert child.events[1]["signal"] == "SIGINT"


def test_ctrl_break_ends_the_daemon_gracefully(alone: Machine, config: Path) -> None:
    """Nothing here has a console to send it from, so the process raises it itself, once it is ready."""
    script = textwrap.dedent("""
        import logging, signal, sys
        from responder.cli import main

        class BreakWhenReady(logging.Handler):
            def emit(self, record):
                if getattr(record.msg, "event", "") == "ready":
                    signal.raise_signal(signal.SIGBREAK)

        logging.getLogger("responder.daemon").addHandler(BreakWhenReady())
        main(["run", "echo.toml"])
        """)
    done = alone.run("-c", script, cwd=config.parent, timeout=120)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in events] == ["ready", "stopping", "stopped"], done.stderr
    assert events[1]["signal"] == "SIGBREAK"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("event", "name"), [(2, "CTRL_CLOSE_EVENT"), (5, "CTRL_LOGOFF_EVENT"), (6, "CTRL_SHUTDOWN_EVENT")]
)
def test_the_end_of_a_console_or_a_session_leaves_time_for_goodbyes(
    alone: Machine, config: Path, event: int, name: str
) -> None:
    """Windows starts a thread of the process at CtrlRoutine, which asks the handlers, and ends the process after them.

    Nothing here closes a console, so the process starts that thread itself.  The handler holds a lock of Windows', and
    would for longer than the test's patience: nobody may wait for it.
    """
    script = textwrap.dedent(f"""
        import ctypes, logging
        from responder.cli import main
        from responder.net.windows.console import EndHandler

        EndHandler.__init__.__defaults__ = (1000.0,)

        class EndWhenReady(logging.Handler):
            def emit(self, record):
                if getattr(record.msg, "event", "") == "ready":
                    routine = ctypes.cast(ctypes.WinDLL("kernelbase").CtrlRoutine, ctypes.c_void_p)
                    create = ctypes.WinDLL("kernel32").CreateThread
                    create.argtypes = [ctypes.c_void_p] * 6
                    assert create(None, None, routine, {event}, None, None)

        logging.getLogger("responder.daemon").addHandler(EndWhenReady())
        main(["run", "echo.toml"])
        """)
    done = alone.run("-c", script, cwd=config.parent, timeout=120)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in events] == ["ready", "stopping", "stopped"], done.stderr
    assert events[1]["signal"] == name
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("command", "name"),
    [(("wineboot", "--end-session"), "WM_ENDSESSION"), (("taskkill", "/im", "python.exe"), "WM_CLOSE")],
)
def test_logging_off_and_taskkill_leave_time_for_goodbyes(
    windows: WindowsPython, config: Path, command: tuple[str, ...], name: str
) -> None:
    """Wine, as Windows, sends the end of a session to windows; and it ends each process whose window has answered."""
    with Lab() as lab:
        host, client = lab.namespace("host"), lab.namespace("client")
        lab.link(host, "link1", client, "link1")
        with windows.machine(host) as machine, machine.daemon(config) as child:
            machine.program(*command)
            child.wait()  # Wine may still kill it (-9) while it ends by itself
    assert [event["event"] for event in child.events] == ["ready", "stopping", "stopped"], child.said
    assert child.events[1]["signal"] == name


def test_a_taken_port_is_named(alone: Machine, config: Path) -> None:
    with alone.daemon(config):
        done = responderd(alone, "run", config.name, folder=config.parent)
    # Not `== 1`: Wine now and then kills (-9) a process that is already ending with threads of its own.
    assert done.returncode != 0, done
    assert "UDP port 7007 is taken by another program" in done.stderr


def test_the_embedded_default_says_what_to_type(alone: Machine, tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import logging, signal
        from responder.cli import main

        class StopWhenInvited(logging.Handler):
            def emit(self, record):
                if getattr(record.msg, "event", "") == "ready":
                    signal.raise_signal(signal.SIGINT)

        logging.getLogger("responder.daemon").addHandler(StopWhenInvited())
        main(["run"])
        """)
    done = alone.run("-c", script, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    for address in ("10.71.0.1", "fd71::1", "::1"):
        assert f"dig @{address} -p 5300 whoami.test TXT" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_top_and_the_page_see_a_running_daemon(alone: Machine, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(f'[daemon]\ncontrol = "control"\nmetrics = "{METRICS}"\n[plugins.echo]\nport = 7007\n')
    with alone.daemon(file):
        done = responderd(alone, "top", "--config", file.name, folder=tmp_path)
        assert alone.namespace is not None
        status, page = get(alone.namespace, "/")
    assert status == 200
    assert '<th scope="row">echo</th><td class="minor">Echo</td>' in page
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^echo +\|ready +\| +0 ", done.stdout, re.MULTILINE)


def test_check_says_that_all_is_well(alone: Machine, config: Path) -> None:
    done = responderd(alone, "check", config.name, folder=config.parent)
    assert (done.returncode, done.stdout) == (0, "echo.toml: ok: 1 plugin (echo)\n"), done
    # echo has TCP too (RFC 862).
    assert re.findall("-Protocol ([A-Z]+) -LocalPort ([0-9,]+)", done.stderr) == [("UDP", "7007"), ("TCP", "7007")]


def test_check_says_everything_that_is_wrong(alone: Machine, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('[plugins.echo]\nprot = 7007\nport = "x"\n[plugins.ecko]\n')
    done = responderd(alone, "check", "bad.toml", folder=tmp_path)
    assert done.returncode == 2, done
    assert done.stdout == ""
    for path in ("plugins.echo.prot", "plugins.echo.port", "plugins.ecko"):
        assert path in done.stderr


def test_plugins_are_found(alone: Machine, tmp_path: Path) -> None:
    done = responderd(alone, "plugins", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"echo", "whoami"} <= {row["name"] for row in json.loads(done.stdout)}
    one = responderd(alone, "plugins", "echo", folder=tmp_path)
    assert one.returncode == 0, one.stderr
    assert "RFC 862" in one.stdout


def test_interfaces_by_friendly_name(alone: Machine, tmp_path: Path) -> None:
    done = responderd(alone, "interfaces", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert alone.namespace is not None
    table = {row["index"]: row for row in json.loads(done.stdout)}
    row = table[alone.namespace.ifindex("link1")]
    assert not row["name"].startswith("{")
    assert {"address": "10.71.0.1", "prefix_length": 24} in row["addresses"]
    assert {"address": "fd71::1", "prefix_length": 64} in row["addresses"]
    assert row["mtu"] == 1500
    assert {"up", "running", "broadcast", "multicast"} <= set(row["flags"])
    shown = responderd(alone, "interfaces", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "10.71.0.1/24" in shown.stdout


def test_a_run_that_takes_too_long_is_ended(alone: Machine) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        alone.run("-c", "import time; time.sleep(1000)", timeout=1)
    assert alone.pythons() == []

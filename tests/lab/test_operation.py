"""The running daemon, operated: reloads under load, a crash of the process, plugins that misbehave beside good ones."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .daemon import Child, daemon
from .namespaces import Lab, Namespace

pytestmark = pytest.mark.lab

RELOADS = int(os.environ.get("RESPONDER_TEST_RELOADS", "20"))
"""SIGHUPs, one each tenth of a second."""

BASE = """
[daemon]
control = "control.sock"
grace = 0.5

[plugins.echo]
port = 7007

[plugins.changing]
use = "echo"
port = 7008
max_answer = {size}
"""


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Lab() as lab:
        namespace = lab.namespace("host")
        namespace.ip("link set lo up")
        yield namespace


def descriptors(child: Child) -> int:
    return len(os.listdir(f"/proc/{child.pid}/fd"))


class Load(threading.Thread):
    """Asks one port, one request after the other, until told to stop; counts what was asked and answered."""

    def __init__(self, host: Namespace, port: int) -> None:
        super().__init__()
        self.asked = self.answered = 0
        self._socket = host.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.settimeout(10)
        self._socket.connect(("::1", port))
        self._done = threading.Event()

    def run(self) -> None:
        with self._socket:
            while not self._done.is_set():
                self.asked += 1
                self._socket.send(str(self.asked).encode())
                self.answered += self._socket.recv(100) == str(self.asked).encode()

    def stop(self) -> None:
        self._done.set()
        self.join()


def test_reloads_under_load_lose_no_query_and_leak_nothing(host: Namespace, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(BASE.format(size=1000))
    with daemon(host, config, folder=tmp_path) as child:
        before = descriptors(child)
        loads = [Load(host, 7007), Load(host, 7008)]
        for load in loads:
            load.start()
        for number in range(RELOADS):
            config.write_text(BASE.format(size=1001 + number))
            child.signal(signal.SIGHUP)
            time.sleep(0.1)  # the pace is what is tested; nothing is waited for
        config.write_text(BASE.format(size=60_000))
        child.signal(signal.SIGHUP)
        child.wait_for("reloaded")
        for load in loads:
            load.stop()
            assert load.answered == load.asked > RELOADS
        reloads = [event for event in child.events if event.get("event") == "reloaded"]
        assert reloads
        # What a reload under way may still hold is bounded by the one that was.
        assert descriptors(child) <= before + 1
    assert child.status == 0
    assert not [event for event in child.events if event["level"] in ("warning", "error")]


def test_a_broken_config_at_sighup_is_named_and_changes_nothing(host: Namespace, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(BASE.format(size=1000))
    with daemon(host, config, folder=tmp_path) as child:
        config.write_text(BASE.format(size='"big"'))
        child.signal(signal.SIGHUP)
        refused = child.wait_for("the new configuration is refused")
        assert "plugins.changing.max_answer: expected a positive integer" in refused["reason"]
        load = Load(host, 7008)
        load.start()
        load.stop()
        assert load.answered == load.asked
    assert child.status == 0


def test_kill_leaves_nothing_that_stops_the_next_start(host: Namespace, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(BASE.format(size=1000))
    for _ in range(3):
        with daemon(host, config, folder=tmp_path) as child:
            assert (tmp_path / "control.sock").exists()
            child.signal(signal.SIGKILL)
        assert child.status == -signal.SIGKILL
    with daemon(host, config, folder=tmp_path) as child:
        load = Load(host, 7007)
        load.start()
        load.stop()
        assert load.answered == load.asked
    assert child.status == 0
    assert not (tmp_path / "control.sock").exists()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that every user may read, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_a_daemon_gives_up_its_rights_once_its_ports_are_open(host: Namespace, open_folder: Path) -> None:
    config = open_folder / "config.toml"
    config.write_text('[daemon]\nuser = "nobody"\n[plugins.echo]\nport = 7\n')
    with daemon(host, config, folder=open_folder) as child:
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{child.pid}/status").read_text().splitlines() if ":\t" in line
        )
        assert "0" not in status["Uid"].split()
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        load = Load(host, 7)
        load.start()
        load.stop()
        assert load.answered == load.asked
        # A low port can no longer be had: the reload says so and changes nothing.
        config.write_text('[daemon]\nuser = "nobody"\n[plugins.echo]\nport = 8\n')
        child.signal(signal.SIGHUP)
        refused = child.wait_for("the new configuration is refused")
        assert "UDP port 8: no right to bind" in refused["reason"]
    assert child.status == 0

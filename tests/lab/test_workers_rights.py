"""Several workers once the daemon has become another user: they have no rights, and need none."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import responder

from .daemon import Child
from .namespaces import Namespace
from .operating import BOUND, asked_once, command, fields, instance, rewrite, status
from .test_operation import open_folder
from .test_workers import CLIENTS, ENDED, WORKERS

__all__ = ["open_folder"]  # a fixture

pytestmark = pytest.mark.lab


@pytest.fixture
def python_of_nobody() -> tuple[str, dict[str, str]]:
    """A Python that the user nobody may run as well, which one in root's home is not, and its environment."""
    root = Path(responder.__file__).parents[1]
    paths = [str(root), str(root / "plugins"), sysconfig.get_path("purelib")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    for python in (sys.executable, "/usr/bin/python3"):
        # By env, since setpriv itself still starts programs as root may.
        as_nobody = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "env")
        argv = [
            *as_nobody,
            python,
            "-P",
            "-c",
            "import responder.daemon.workers.serve, responder.daemon.workers.program",
        ]
        if subprocess.run(argv, env=environment, capture_output=True, check=False, timeout=60).returncode == 0:
            return python, environment
    pytest.skip("user nobody can run no Python here")


def test_workers_have_no_rights_and_need_none_to_be_started_again(
    host: Namespace, open_folder: Path, python_of_nobody: tuple[str, dict[str, str]]
) -> None:
    python, environment = python_of_nobody
    config = open_folder / "config.toml"
    config.write_text(WORKERS.replace("workers", 'user = "nobody"\nworkers') + "[plugins.echo]\nport = 7\n")
    argv = [python, "-m", "responder", "run", str(config)]
    with Child(host, argv, cwd=open_folder, environment=environment) as child:
        first = status(open_folder)
        victim = first["workers"][0]["pid"]
        lines = Path(f"/proc/{victim}/status").read_text().splitlines()
        rights = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert "0" not in rights["Uid"].split()
        assert int(rights["CapEff"], 16) == int(rights["CapPrm"], 16) == int(rights["CapBnd"], 16) == 0
        assert fields(child)["Uid"] == rights["Uid"]
        os.kill(victim, signal.SIGKILL)
        for _ in range(CLIENTS):
            assert asked_once(host, 7)
        child.wait_for(ENDED)
        second = status(open_folder)
        assert instance(second, "echo")["state"] == "ready"
        # The sockets are the same, with the buffers that only root may ask for.
        assert second["ports"] == first["ports"]
    assert child.status == 0, child.said


@pytest.mark.parametrize("user", ["", 'user = "nobody"\n'])
def test_a_port_goes_from_every_address_to_some_and_back(
    host: Namespace, open_folder: Path, python_of_nobody: tuple[str, dict[str, str]], user: str
) -> None:
    text = WORKERS.replace("[daemon]\n", "[daemon]\n" + user) + "[plugins.echo]\nport = 7007\n"
    config = open_folder / "config.toml"
    config.write_text(text)
    python, environment = python_of_nobody
    argv = [python, "-m", "responder", "run", str(config)]
    with Child(host, argv, cwd=open_folder, environment=environment) as child:
        for listen in ('listen = ["::1"]\n', "", 'listen = ["::1", "127.0.0.1"]\n'):
            rewrite(config, text + listen)
            done = command(open_folder, "reload")
            assert done.returncode == 0, done.stderr
            assert asked_once(host, 7007)
            with host.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
                sock.settimeout(BOUND)
                sock.connect(("::1", 7007))
    assert child.status == 0, child.said

"""From the wheel to a plugin of one's own that answers a real client: what the README of a new project promises."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .venv import BOUND, Venv

pytestmark = pytest.mark.index


@pytest.fixture(scope="module")
def project(venv: Venv) -> Iterator[Path]:
    """`responderd new hello`, installed."""
    done = venv.run("responderd", "new", "hello")
    assert done.returncode == 0, done.stderr
    venv.pip("install", "-e", "hello[test]")
    yield venv.work / "hello"
    venv.pip("uninstall", "--yes", "responder-hello")


def test_the_wheel_has_all_it_needs(venv: Venv) -> None:
    done = venv.run("responderd", "plugins")
    assert done.returncode == 0, done.stderr
    assert "can't be loaded" not in done.stdout
    assert "whoami" in done.stdout


def test_its_tests_pass(venv: Venv, project: Path) -> None:
    done = venv.run("pytest", "-q", "-W", "error", project)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def test_a_second_one_is_refused(venv: Venv, project: Path) -> None:
    done = venv.run("responderd", "new", "hello")
    assert (done.returncode, done.stderr) == (2, "error: hello exists, and is left as it is\n")


def test_it_is_known_and_checked(venv: Venv, project: Path) -> None:
    options = venv.run("responderd", "plugins", "hello")
    assert "greeting" in options.stdout
    assert venv.run("responderd", "check", project / "hello.toml").returncode == 0


def test_it_answers_a_real_client(venv: Venv, project: Path) -> None:
    config = project / "free.toml"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config.write_text((project / "hello.toml").read_text().replace("port = 7007", f"port = {port}"))
    process = subprocess.Popen(
        [venv.program("responderd"), "run", str(config)],
        env=venv.environment(),
        cwd=venv.work,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    killer = threading.Timer(BOUND, process.kill)
    killer.start()
    try:
        assert process.stderr is not None
        assert any('"ready"' in line for line in process.stderr), "it ended before it was ready"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(20)
            client.connect(("127.0.0.1", port))
            client.send(b"hello world")
            assert client.recv(1500) == b"hello world"
        process.terminate()
        process.stderr.read()
        assert process.wait() == 0
    finally:
        killer.cancel()
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()

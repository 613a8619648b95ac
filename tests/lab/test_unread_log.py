"""A daemon whose log nobody reads: it answers, tells its status, and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from responder.errors import ResponderError

from .namespaces import Namespace
from .operating import BOUND, HEAD, Load, outcomes, status

pytestmark = pytest.mark.lab

REQUESTS = 5000
"""Each is a line of the query log: more than a pipe and the queue hold."""


@pytest.mark.parametrize("workers", [1, 2])
def test_it_goes_on_as_if_it_were_read(host: Namespace, tmp_path: Path, workers: int) -> None:
    config = tmp_path / "config.toml"
    config.write_text(HEAD + f"queries = true\nworkers = {workers}\n[plugins.echo]\nport = 7007\n")
    read, write = os.pipe()
    argv = host.argv(sys.executable, "-m", "responder", "run", str(config))
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=write, stderr=write, cwd=tmp_path) as process:
        try:
            os.close(write)
            wait_until_ready(tmp_path)
            load = Load(host, 7007)
            for _ in range(REQUESTS):
                load.ask()
            load.close()
            assert load.answered == REQUESTS
            assert outcomes(status(tmp_path), "echo")["answered"] == REQUESTS
            process.send_signal(signal.SIGTERM)
            assert process.wait(BOUND) == 0
        finally:
            process.kill()
            os.close(read)


def wait_until_ready(folder: Path) -> None:
    until = time.monotonic() + BOUND
    while True:
        try:
            if not status(folder)["not_ready"]:
                return
        except ResponderError:
            pass  # it does not listen yet
        assert time.monotonic() < until
        time.sleep(0.05)

"""What those who watch a daemon cost, once a second and under load: the page (`/live.json`), and `responderd top`.

    python -m tests.benchmarks.viewers [--rounds N] [--seconds N] [--rate N] [--json]        (Linux)

In percent of a core.  What the daemon itself pays is its CPU time with a viewer less that without one, in turn, at the
same load: `--rate` DNS questions a second on loopback.  `top` is a process of its own, on a terminal that nobody sees.
Its start is not counted: who starts it pays that once.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .startup import QUERY, cpu_of

PORT, METRICS = 5391, 9391
CONFIG = f"""
[daemon]
control = "control.sock"
metrics = "127.0.0.1:{METRICS}"
[plugins.whoami]
port = {PORT}
rate = 0
"""
SETTLE = 3.0
"""Seconds that a viewer has for its start."""


@contextmanager
def ended_later(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


class Repeating(threading.Thread):
    """Does something so many times a second until the context is left."""

    def __init__(self, action: Callable[[], None], rate: float) -> None:
        super().__init__(daemon=True)
        self._action, self._pause, self._done = action, 1 / rate, threading.Event()

    def run(self) -> None:
        due = time.monotonic()
        while not self._done.wait(max(0.0, due - time.monotonic())):
            self._action()
            due += self._pause

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


def look_at_page() -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{METRICS}/live.json", timeout=10) as answer:
        json.loads(answer.read())


def asking(rate: int) -> Repeating:
    """Questions in bursts of a hundredth of a second, whose answers are read."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    client.connect(("127.0.0.1", PORT))

    def burst() -> None:
        for _ in range(rate // 100):
            client.send(QUERY)
        try:
            while True:
                client.recv(512)
        except BlockingIOError:
            pass

    return Repeating(burst, 100)


@contextmanager
def top(folder: str) -> Iterator[int]:
    """`responderd top` on a terminal of 100 columns that is read; its process."""
    far, near = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "responder", "top", "--control", f"{folder}/control.sock"]
    process = subprocess.Popen(command, stdin=near, stdout=near, stderr=near, env=environment)
    os.close(near)

    def drain() -> None:
        try:
            while os.read(far, 65536):
                pass
        except OSError:  # the other end is gone
            pass

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    try:
        with ended_later(process):
            time.sleep(SETTLE)
            yield process.pid
    finally:
        reader.join()
        os.close(far)


def used(pid: int, seconds: float) -> float:
    """Percent of a core in so many seconds from now on."""
    began, before = time.monotonic(), cpu_of(pid)
    time.sleep(seconds)
    return 100 * (cpu_of(pid) - before) / (time.monotonic() - began)


def measure(rounds: int, seconds: float, rate: int) -> dict[str, float]:
    alone, page_more, top_more, top_itself = [], [], [], []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        Path(folder, "a.toml").write_text(CONFIG)
        command = [sys.executable, "-m", "responder", "run", "a.toml"]
        daemon = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE)
        stack.enter_context(ended_later(daemon))
        assert daemon.stderr is not None
        stack.callback(daemon.stderr.close)
        assert any(b'"ready"' in line for line in daemon.stderr)
        stack.enter_context(asking(rate))
        time.sleep(SETTLE)
        for _ in range(rounds):
            before = used(daemon.pid, seconds)
            with Repeating(look_at_page, 1):
                page = used(daemon.pid, seconds)
            with top(folder) as viewer:
                cpu = cpu_of(viewer)
                began = time.monotonic()
                watched = used(daemon.pid, seconds)
                top_itself.append(100 * (cpu_of(viewer) - cpu) / (time.monotonic() - began))
            after = used(daemon.pid, seconds)
            alone.append((before + after) / 2)
            page_more.append(page - alone[-1])
            top_more.append(watched - alone[-1])
    return {
        "daemon alone": round(statistics.median(alone), 2),
        "more with the page": round(statistics.median(page_more), 2),
        "more with top": round(statistics.median(top_more), 2),
        "top itself": round(statistics.median(top_itself), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments.rounds, arguments.seconds, arguments.rate)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"percent of a core, at {arguments.rate} questions a second")
        for name, percent in result.items():
            print(f"{name:20} {percent:6.2f}")


if __name__ == "__main__":
    main()

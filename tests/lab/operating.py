"""What the tests that operate a running daemon share: load, spoofed sources, its status, its metrics, what it holds.

The daemon's control socket is `control.sock` in its folder, its metrics port METRICS on its loopback.  `daemon` starts
it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from responder.daemon.control_client import ask

from .changing import open_files
from .daemon import Child
from .namespaces import Namespace
from .test_hostile import ip_packet

CONTROL = "control.sock"
METRICS = "127.0.0.1:9153"
HEAD = f'[daemon]\ncontrol = "{CONTROL}"\nmetrics = "{METRICS}"\ngrace = 0.5\n'
"""The beginning of a config that the functions here can ask."""

BOUND = 20.0
"""Seconds for one answer of the daemon: generous, for a loaded machine; never waited out when all is well."""


def rewrite(config: Path, text: str) -> None:
    """Another content, in one step: a daemon that reads it meanwhile finds the old or the new one."""
    beside = config.with_name(config.name + ".new")
    beside.write_text(text)
    beside.replace(config)


class Load(threading.Thread):
    """Asks one port, one request after the other, until told to stop; counts what was asked and answered.

    It waits `patience` seconds for an answer, and asks `rate` times a second at most; None: as often as it is answered.
    Any address of the family of `destination` may be the namespace's own.
    """

    def __init__(
        self,
        host: Namespace,
        port: int,
        destination: str = "::1",
        patience: float = BOUND,
        rate: float | None = None,
    ) -> None:
        super().__init__(name=f"load on port {port}")
        self.asked = self.answered = 0
        self._interval = 0.0 if rate is None else 1 / rate
        family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        self._socket = host.socket(family, socket.SOCK_DGRAM)
        self._socket.settimeout(patience)
        self._socket.connect((destination, port))
        self._done = threading.Event()

    def run(self) -> None:
        due = time.monotonic()
        while not self._done.is_set():
            self.ask()
            # Late ones are not made up for: the daemon was slow, or the machine.
            due = max(due + self._interval, now := time.monotonic())
            if due > now:
                self._done.wait(due - now)

    def ask(self) -> None:
        """Once, and wait for the answer.  Not beside `run`."""
        self.asked += 1
        payload = str(self.asked).encode()
        with contextlib.suppress(TimeoutError, ConnectionRefusedError):
            self._socket.send(payload)
            while self._socket.recv(100) != payload:
                pass  # a late answer to an earlier request
            self.answered += 1

    def stop(self) -> None:
        self._done.set()
        self.join()
        self.close()

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def under_load(*loads: Load) -> Iterator[None]:
    for load in loads:
        load.start()
    try:
        yield
    finally:
        for load in loads:
            load.stop()


def asked_once(host: Namespace, port: int) -> bool:
    """Is one request answered?"""
    load = Load(host, port)
    load.ask()
    load.close()
    return load.answered == 1


def send(host: Namespace, port: int, payload: bytes, count: int = 1) -> None:
    """Datagrams from one socket on loopback, whose answers nobody waits for."""
    with host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        for _ in range(count):
            sock.sendto(payload, ("::1", port))


def exchange(host: Namespace, port: int, payload: bytes) -> bytes:
    """One answer.  Raises TimeoutError where there is none."""
    with host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.settimeout(BOUND)
        sock.sendto(payload, ("::1", port))
        return sock.recv(65536)


class Forger:
    """Sends UDP over IPv4 whose sources are others', from a raw socket of `namespace`."""

    def __init__(self, namespace: Namespace, destination: str, port: int) -> None:
        self._destination = destination
        self._port = port
        self._socket = namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def __enter__(self) -> Forger:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, source: str, source_port: int, payload: bytes, port: int | None = None) -> None:
        """To another port than the usual one where `port` is given."""
        # A checksum of zero: none (RFC 768).
        datagram = struct.pack("!HHHH", source_port, port or self._port, 8 + len(payload), 0) + payload
        self._socket.sendto(ip_packet(source, self._destination, datagram), (self._destination, 0))


def networks(count: int, start: str = "11.0.0.1") -> Iterator[str]:
    """An address in each of so many /24 networks, one after the other."""
    (first,) = struct.unpack("!I", socket.inet_aton(start))
    return (socket.inet_ntoa(struct.pack("!I", first + (number << 8))) for number in range(count))


# What the daemon says


def status(folder: Path) -> dict[str, Any]:
    answers = ask(folder / CONTROL, {"request": "status"}, timeout=BOUND)
    found: dict[str, Any] = next(answers)["status"]
    return found


def instance(found: dict[str, Any], name: str) -> dict[str, Any]:
    """What a status says of one instance."""
    (own,) = [each for each in found["instances"] if each["name"] == name]
    return dict(own)


def outcomes(found: dict[str, Any], name: str) -> dict[str, int]:
    """Outcome -> count of one instance, over all interfaces."""
    totals: dict[str, int] = {}
    for counts in found["counters"].get(name, {}).values():
        for outcome, count in counts.items():
            totals[outcome] = totals.get(outcome, 0) + count
    return totals


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of `responderd` that talks to the daemon of that folder, as an operator types it."""
    argv = [sys.executable, "-m", "responder", *arguments, "--control", str(folder / CONTROL)]
    # Wide enough that no cell of a table is folded.
    environment = {**os.environ, "COLUMNS": "300"}
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env=environment)


def get(host: Namespace, path: str) -> tuple[int, str]:
    """Status and body of a request to the metrics port."""

    def request() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{METRICS}{path}", timeout=BOUND) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return host.call(request)


def metrics(host: Namespace) -> dict[str, float]:
    """Each sample by its name and labels, as the text form writes them."""
    _, text = get(host, "/metrics")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


# What it holds


def descriptors(child: Child) -> int:
    return open_files(child)


def fields(child: Child) -> dict[str, str]:
    """/proc/PID/status (proc(5))."""
    lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

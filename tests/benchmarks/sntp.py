"""How wrong a client's clock would be that is set by sntp: over veth, where both ends have the kernel's one clock.

    python -m tests.benchmarks.sntp [--requests N] [--json]      (root, Linux; chronyd beside it, where it is installed)

The clock offset of RFC 5905 section 8, ((T2 - T1) + (T3 - T4)) / 2, is 0 for a server that makes no mistake on a way
that takes as long forth as back.  T1 is taken before the request is sent, T4 is the kernel's time of arrival.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.lab.daemon import daemon
from tests.lab.namespaces import Lab, Namespace
from tests.plugins.sntp.support import EPOCH, request, told

SERVER, CLIENT = "10.71.0.1", "10.71.0.9"
SO_TIMESTAMPNS = 35
PAUSE = 0.002
"""Seconds between requests: the server sleeps in between, as it does between those of real clients."""

GOAL = 50.0
"""Microseconds, of the median."""

PATIENCE = 30.0
"""Seconds until a server must answer."""


def offset(sock: socket.socket) -> float:
    """Microseconds that one answer is off by."""
    first = time.time()
    sock.send(request(transmit=struct.pack("!Q", int((first + EPOCH) * 2**32))))
    payload, control, _, _ = sock.recvmsg(100, 100)
    ((_, _, stamp),) = control
    seconds, nanoseconds = struct.unpack("@qq", stamp)
    answer = told(payload)
    receive, transmit = answer.receive - EPOCH, answer.transmit - EPOCH
    last = seconds + nanoseconds / 1e9
    return ((receive - first) + (transmit - last)) / 2 * 1e6


def ask(client: Namespace, count: int) -> Sequence[float]:
    with client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.connect((SERVER, 123))
        sock.settimeout(0.5)
        give_up = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                offset(sock)
                break
            if time.monotonic() > give_up:
                raise TimeoutError("the server does not answer")
        offsets = []
        for _ in range(count):
            time.sleep(PAUSE)
            offsets.append(offset(sock))
        return offsets


@contextlib.contextmanager
def responderd(host: Namespace, folder: Path) -> Iterator[None]:
    file = folder / "sntp.toml"
    file.write_text('[plugins.sntp]\ntrust = "always"\n')
    with daemon(host, file, folder=folder):
        yield


@contextlib.contextmanager
def chronyd(host: Namespace, folder: Path) -> Iterator[None]:
    file = folder / "chrony.conf"
    lines = ("allow all", "local stratum 10", "cmdport 0", "bindcmdaddress /", "user root")
    file.write_text("\n".join([*lines, f"pidfile {folder}/chronyd.pid", ""]))
    process = subprocess.Popen(host.argv("chronyd", "-d", "-x", "-f", str(file)), stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def measure(count: int) -> dict[str, object]:
    servers: dict[str, Callable[[Namespace, Path], AbstractContextManager[None]]] = {"responderd": responderd}
    if shutil.which("chronyd"):
        servers["chronyd"] = chronyd
    result: dict[str, object] = {"requests": count}
    with tempfile.TemporaryDirectory() as folder, Lab() as lab:
        host, client = lab.namespace("host"), lab.namespace("client")
        lab.link(host, "link1", client, "link1")
        host.ip(f"addr add {SERVER}/24 dev link1")
        client.ip(f"addr add {CLIENT}/24 dev link1")
        for name, start in servers.items():
            with start(host, Path(folder)):
                errors = sorted(map(abs, ask(client, count)))
            result[f"{name}_median_us"] = round(statistics.median(errors), 1)
            result[f"{name}_99th_percentile_us"] = round(errors[int(0.99 * (count - 1))], 1)
            if name == "responderd":
                result["goal"] = f"median below {GOAL:g} us: {'reached' if errors[count // 2] < GOAL else 'MISSED'}"
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("network namespaces are needed: root")
    result = measure(arguments.requests)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:32} {value}")


if __name__ == "__main__":
    main()

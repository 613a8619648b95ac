"""TFTP of 64 MB over veth: rate and CPU time of a transfer, beside tftpd-hpa; and memory with 100 transfers at once.

    python -m tests.benchmarks.tftp [--size MB] [--rounds N] [--json]      (root, Linux, atftp, tftpd-hpa)

atftp asks each server in turn for blocks of 1428 bytes in windows of 16; tftpd-hpa knows no windows, and sends block by
block.  The ratio of each round counts, and the median of those.  CPU time is for the whole file, kernel included.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.lab.daemon import daemon
from tests.lab.namespaces import Lab, Namespace
from tests.plugins.tftp.support import ack, content, opcode_of, request

from . import machine

SERVER, CLIENT = "10.71.0.1", "10.71.0.9"
WINDOW, BLOCK = 16, 1428
AT_ONCE = 100
"""Transfers."""

GOAL = 0.5
"""Of tftpd-hpa's rate."""

PATIENCE = 60.0
"""Seconds for what a server has to do at once."""


@attrs.frozen
class Run:
    """MB a second, and CPU seconds of the server."""

    rate: float
    cpu: float


@contextlib.contextmanager
def responderd(host: Namespace, folder: Path) -> Iterator[int]:
    """Its process id."""
    file = folder / "tftp.toml"
    file.write_text(f'[plugins.tftp]\nroot = "boot"\nmax_per_peer = {AT_ONCE}\n')
    with daemon(host, file, folder=folder) as child:
        yield child.pid


@contextlib.contextmanager
def tftpd_hpa(host: Namespace, folder: Path) -> Iterator[int]:
    argv = host.argv("in.tftpd", "-L", "-s", "-u", "root", "--address", f"{SERVER}:69", str(folder / "boot"))
    process = subprocess.Popen(argv)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


SERVERS = {"responderd": responderd, "tftpd-hpa": tftpd_hpa}


def wait_for(client: Namespace) -> None:
    """Return once the server answers.  Raises TimeoutError."""
    give_up = time.monotonic() + PATIENCE
    with client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.1)
        while time.monotonic() < give_up:
            sock.sendto(request("missing"), (SERVER, 69))
            with contextlib.suppress(TimeoutError):
                sock.recvfrom(1500)
                return
    raise TimeoutError("the server does not answer")


def transfer(client: Namespace, pid: int, folder: Path, size: int, digest: bytes) -> Run:
    """One by atftp.  Raises RuntimeError where the file is another."""
    target = folder / "got"
    options = ["--option", f"blksize {BLOCK}", "--option", f"windowsize {WINDOW}"]
    before, began = sum(machine.used_by(pid)), time.monotonic()
    client.run("atftp", *options, "-g", "-r", "file", "-l", str(target), SERVER)
    took = time.monotonic() - began
    cpu = sum(machine.used_by(pid)) - before
    if hashlib.sha256(target.read_bytes()).digest() != digest:
        raise RuntimeError("the file that came is another")
    target.unlink()
    return Run(size / took / 1e6, cpu)


def memory_with_many(client: Namespace, pid: int) -> tuple[float, float]:
    """MiB of the server before, and with so many transfers under way, each of which has half of a mebibyte."""
    before = machine.memory_of(pid)
    with contextlib.ExitStack() as stack:
        for _ in range(AT_ONCE):
            sock = stack.enter_context(client.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.settimeout(PATIENCE)
            sock.sendto(request(blksize=BLOCK), (SERVER, 69))
            payload, peer = sock.recvfrom(2048)
            for number in range(0, (1 << 19) // BLOCK):
                sock.sendto(ack(number), peer)
                payload, _ = sock.recvfrom(2048)
                if opcode_of(payload) != 3:
                    raise RuntimeError(f"no block: {payload[:40]!r}")
        return before, machine.memory_of(pid)


def measure(megabytes: int, rounds: int) -> dict[str, object]:
    size = megabytes * 1_000_000
    runs: dict[str, list[Run]] = {name: [] for name in SERVERS}
    # In memory, so that no disk is measured.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name, Lab() as lab:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "boot").mkdir()
        data = content(size)
        (folder / "boot" / "file").write_bytes(data)
        digest = hashlib.sha256(data).digest()
        host, client = lab.namespace("host"), lab.namespace("client")
        lab.link(host, "link1", client, "link1")
        host.ip(f"addr add {SERVER}/24 dev link1")
        client.ip(f"addr add {CLIENT}/24 dev link1")
        for _ in range(rounds):
            for server, start in SERVERS.items():
                with start(host, folder) as pid:
                    wait_for(client)
                    runs[server].append(transfer(client, pid, folder, size, digest))
        with responderd(host, folder) as pid:
            wait_for(client)
            before, during = memory_with_many(client, pid)
    ratios = [ours.rate / theirs.rate for ours, theirs in zip(*runs.values(), strict=True)]
    ratio = statistics.median(ratios)
    return {
        "megabytes": megabytes,
        **{
            f"{server}_mb_per_s": round(statistics.median(run.rate for run in each), 1) for server, each in runs.items()
        },
        # tftpd-hpa sends from a child that is gone by then.
        "responderd_cpu_s": round(statistics.median(run.cpu for run in runs["responderd"]), 2),
        "ratio": round(ratio, 2),
        "lowest_ratio": round(min(ratios), 2),
        "goal": f">= {GOAL}: {'reached' if ratio >= GOAL else 'MISSED'}",
        "mib_before": round(before, 1),
        f"mib_with_{AT_ONCE}_transfers": round(during, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=64, help="MB of the file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("network namespaces are needed: root")
    result = measure(arguments.size, arguments.rounds)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:28} {value}")


if __name__ == "__main__":
    main()

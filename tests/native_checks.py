"""Checks of the compiled module that take too long, or too much, for the test suite.  Linux, a C compiler.

    python -m tests.native_checks sanitize                      its tests under the address and undefined sanitizers
    python -m tests.native_checks leaks --datagrams 10000000    what the process holds while it answers so many: flat

Exit status 1 where a check fails.  `sanitize` works on a copy of the checkout, so that the built module stays.
"""

from __future__ import annotations

import gc
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import click

PROJECT = Path(__file__).parent.parent
LINUX = "tests/responder/net/linux"
TESTS = tuple(
    f"{LINUX}/test_{name}.py"
    for name in ("native", "native_flows", "native_memory", "both_forms", "reload", "segments", "udp")
)
FLAGS = "-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined"


@click.group(help=__doc__.partition("\n")[0])
def main() -> None:
    pass


def runtime(name: str) -> str:
    """A sanitizer's library, which has to be loaded before Python."""
    return subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()


@main.command()
def sanitize() -> None:
    """Run the module's tests under the sanitizers."""
    with tempfile.TemporaryDirectory(prefix="sanitize-") as name:
        copy = Path(name) / "tree"
        ignored = shutil.ignore_patterns(".venv", ".git", "*.so", "__pycache__", ".*_cache", ".hypothesis")
        shutil.copytree(PROJECT, copy, ignore=ignored)
        flags = {"CFLAGS": FLAGS, "LDFLAGS": "-fsanitize=address,undefined", "CC": "gcc"}
        subprocess.run([sys.executable, ".build/native.py"], cwd=copy, env=os.environ | flags, check=True)
        environment = os.environ | {
            "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')}",
            "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps much until it ends
            "PYTHONMALLOC": "malloc",
            "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'plugins'}",
        }
        # The tree's own `responder`, not the installed one: an editable installation comes after PYTHONPATH.
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
        done = subprocess.run(command, cwd=copy, env=environment, check=False)
    sys.exit(done.returncode)


@main.command()
@click.option("--datagrams", default=10_000_000, show_default=True, type=click.IntRange(100_000))
def leaks(datagrams: int) -> None:
    """Answer so many datagrams, of each kind, and see that nothing grows."""
    from tests.responder.net.linux.native_support import AskingPort, ask, bound, drained  # noqa: PLC0415 - Linux only

    class Allowing(AskingPort):
        """Of what is too long to be plain, bytes are allowed all the same."""

        def other(self, decision: object, received: object, answer: object) -> bool:
            return type(answer) is bytes

    def respond(request: object) -> object:
        payload: bytes = request.payload  # type: ignore[attr-defined] # a Datagram
        if payload == b"crash":
            raise LookupError
        return None if payload == b"none" else payload

    kinds = [b"plain"] * 13 + [b"none", b"crash", bytes(100)]
    with bound("::1") as client, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind(("::1", 0))
        server.setblocking(False)
        asking = Allowing(respond, plain_limit=50)
        samples: list[tuple[int, int]] = []
        done, steps = 0, 20
        for step in range(1, steps + 1):
            while done < datagrams * step // steps:
                ask(client, server, *kinds)
                assert asking.answer(server) == len(kinds)
                assert sum(1 for _ in drained(client)) == len(kinds) - 2
                asking.calls.clear()
                if done % 1024 == 0:
                    asking.memory.forget()
                    asking.decisions.clear()
                done += len(kinds)
            gc.collect()
            samples.append((sys.getallocatedblocks(), resident()))
            click.echo(f"{done:>12,} datagrams: {samples[-1][0]:>9,} blocks, {samples[-1][1]:>8,} KiB")
    (blocks, memory), (blocks_after, memory_after) = samples[steps // 4], samples[-1]
    if blocks_after - blocks > 1000 or memory_after - memory > 1024:
        raise click.ClickException("it grows")


def resident() -> int:
    """KiB of memory that the process has."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


if __name__ == "__main__":
    main(prog_name="python -m tests.native_checks")

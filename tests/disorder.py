"""A daemon with workers, to which everything happens at random: does it always serve what it should, and end?

    python -m tests.disorder [--minutes 5] [--seed N]      (root, Linux)

Rounds, one after the other.  In each a daemon is started, and then, at random moments, workers are killed, stopped and
continued, and the configuration is reloaded: a good one, one that is wrong, a half-written one, one that changes ports
and addresses.  Sometimes the disorder pauses, and what must hold is looked at:

    every worker that is missing is back
    the configuration in force answers on all its ports, from every worker, and on no other
    the daemon says that it is ready

A round ends with SIGTERM at a random moment, sometimes during the start, sometimes twice.  The daemon then ends with
status 0, and no process and no control socket is left.  How long the longest end took is printed: it should be less
than the grace period and two seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from responder.daemon.control_client import ask
from responder.errors import ResponderError
from tests.lab.daemon import Child, daemon
from tests.lab.namespaces import Lab, Namespace
from tests.lab.operating import BOUND, CONTROL

WORKERS: Final = 3
GRACE: Final = 0.5
HEAD = f'[daemon]\ncontrol = "{CONTROL}"\ngrace = {GRACE}\nworkers = {WORKERS}\nlog = "warning"\n'

PORTS = (7007, 7008, 7009)
GOOD: dict[str, tuple[int, ...]] = {
    HEAD + "[plugins.echo]\nport = 7007\n": (7007,),
    HEAD + "[plugins.echo]\nport = 7007\nmax_answer = 1000\n": (7007,),
    HEAD + "[plugins.echo]\nport = 7007\n[plugins.more]\nuse = 'echo'\nport = 7008\n": (7007, 7008),
    HEAD + "[plugins.echo]\nport = 7009\n[plugins.more]\nuse = 'echo'\nport = 7008\n": (7009, 7008),
    HEAD + "[plugins.echo]\nport = 7007\nlisten = ['127.0.0.1']\n": (7007,),
    HEAD + "[plugins.echo]\nport = 7008\nlisten = ['127.0.0.1', '127.0.0.2']\n": (7008,),
}
BAD = (
    HEAD + "[plugins.echo]\nprot = 7007\n",
    HEAD + "[plugins.echo]\nport = 7007\ngroups = ['239.255.70.7']\n",
    HEAD + "[plugins.echo]\nport = 9\n",  # which is taken
    HEAD + "[plugins.echo",
    HEAD + "a = " + "[" * 5000,
    HEAD + "a = " + "9" * 5000,
    "",
)

CLIENTS = 24
"""As many that the kernel leaves one of three workers without any once in some five thousand looks."""

SETTLED = 60.0
"""Seconds until every worker is back, on a loaded machine: longer than a worker may hang, and than any pause."""


@attrs.define(eq=False)
class Disorder:
    """One round."""

    host: Namespace
    folder: Path
    chance: random.Random
    in_force: str = attrs.field(init=False)
    child: Child = attrs.field(init=False)

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def run(self, steps: int) -> float:
        """The seconds that the end took."""
        self.in_force = self.chance.choice([*GOOD])
        self.config.write_text(self.in_force)
        self.child = daemon(self.host, self.config, folder=self.folder)
        try:
            if self.chance.random() < 0.2:
                # It is ended during its start; before it has workers a signal may find Python without a handler.
                while not self.workers():
                    time.sleep(0.01)
                time.sleep(self.chance.random())
            else:
                self.settle()
                for _ in range(steps):
                    self.step()
            return self.end()
        except BaseException:
            self.child.stop()
            raise

    def step(self) -> None:
        time.sleep(self.chance.choice([0, 0, 0.05, 0.2, 0.5, 1.0]))
        match self.chance.randrange(9):
            case 0 | 1:
                self.signal_a_worker(signal.SIGKILL)
            case 2:
                self.signal_a_worker(signal.SIGSTOP)
            case 3:
                self.signal_a_worker(signal.SIGCONT)
            case 4 | 5:
                text = self.chance.choice([*GOOD])
                if not self.reload(text):
                    self.in_force = text
            case 6:
                text = self.chance.choice(BAD)
                assert self.reload(text), f"it is served:\n{text}"
            case 7:
                # Half-written, by signal: nobody waits for what becomes of it.
                self.config.write_text(self.in_force[: self.chance.randrange(len(HEAD))])
                self.child.signal(signal.SIGHUP)
            case _:
                for pid in self.workers():
                    self.signal(pid, signal.SIGCONT)
                self.settle()

    def reload(self, text: str) -> list[str]:
        self.config.write_text(text)
        (answer,) = ask(self.folder / CONTROL, {"request": "reload"}, timeout=SETTLED)
        messages: list[str] = answer["reload"]
        return messages

    # What must hold

    def settle(self) -> None:
        """Wait until all is well, and look whether it is."""
        until = time.monotonic() + SETTLED
        while True:
            # Those first: one that is killed counts as ready until the daemon has noticed.
            workers = self.workers()
            try:
                (answer,) = ask(self.folder / CONTROL, {"request": "status"}, timeout=BOUND)
            except ResponderError:  # the start is not so far
                answer = {"status": {"not_ready": ["it starts"]}}
            if not answer["status"]["not_ready"] and len(workers) == WORKERS:
                break
            assert time.monotonic() < until, (answer["status"]["not_ready"], workers)
            time.sleep(0.1)
        assert len(answer["status"]["workers"]) == WORKERS
        for port in PORTS:
            assert self.answers(port) == (port in GOOD[self.in_force]), f"port {port} with\n{self.in_force}"

    def answers(self, port: int) -> bool:
        """Do all workers answer there, or is the port closed?"""
        heard = 0
        for _ in range(CLIENTS):
            with self.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(BOUND)
                sock.connect(("127.0.0.1", port))
                # Refused, or dropped by who listens on another address of the port.
                with contextlib.suppress(ConnectionRefusedError, TimeoutError):
                    sock.send(b"x")
                    heard += sock.recv(10) == b"x"
        assert heard in (0, CLIENTS), f"port {port}: {heard} of {CLIENTS} are answered"
        return heard == CLIENTS

    def end(self) -> float:
        workers = self.workers()
        began = time.monotonic()
        if self.chance.random() < 0.3:
            self.child.signal(signal.SIGTERM)
            time.sleep(self.chance.random() / 2)
        status = self.child.stop()
        took = time.monotonic() - began
        assert status == 0, "\n".join(self.child.said)
        assert "Traceback" not in "\n".join(self.child.said), "\n".join(self.child.said)
        assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
        assert not (self.folder / CONTROL).exists()
        return took

    # Its processes

    def workers(self) -> list[int]:
        """What runs as a worker; a start has other children too, Python's ctypes runs ldconfig."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
            return [int(pid) for pid in children if b"workers.program" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return []

    def signal_a_worker(self, number: signal.Signals) -> None:
        if workers := self.workers():
            self.signal(self.chance.choice(workers), number)

    def signal(self, pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            os.kill(pid, number)
            # It runs until the kernel comes to it, and has no command line from then on.
            while number == signal.SIGKILL and Path(f"/proc/{pid}/cmdline").read_bytes():
                time.sleep(0.001)


def disorder(seconds: float, seed: int, steps: int = 30) -> Iterator[float]:
    """Rounds for so long; how many seconds the end of each took."""
    chance = random.Random(seed)  # noqa: S311 - repeatable chance is the point
    until = time.monotonic() + seconds
    with Lab() as lab:
        host = lab.namespace("host")
        with host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
            taken.bind(("::", 9))
            while time.monotonic() < until:
                with tempfile.TemporaryDirectory() as folder:
                    yield Disorder(host, Path(folder), chance).run(chance.randrange(steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=os.getpid())
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    ends: list[float] = []
    for took in disorder(arguments.minutes * 60, arguments.seed):
        ends.append(took)
        print(f"round {len(ends)}: ended within {took:.2f} s; at most {max(ends):.2f} s", flush=True)
    sys.exit(max(ends) > GRACE + 2)


if __name__ == "__main__":
    main()

"""Servers on one core, the load on the other, and one measurement: what every row of the table shares.

Everything runs in network namespaces of its own (see tests/lab/namespaces.py), so it needs root and Linux.  The C
programs in native/ are compiled into a temporary folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from tests.lab.daemon import Child
from tests.lab.namespaces import Lab, Namespace
from tests.plugins_for_tests import with_plugins

from . import machine
from .comparing import Run

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
WARM_UP = 0.3
"""Seconds of load before those that count."""

TRIES = 3
"""Of a measurement of latency that something disturbed."""

PLUGINS = {
    "plain": "Plain",
    "peer": "Peer",
    "six-fields": "SixFields",
    "all-fields": "AllFields",
    "async": "Async",
    "waits": "Waits",
}
"""Entry points of `measured_plugins`."""

CONFIG = """
[daemon]
control = "{folder}/{name}.sock"
metrics = "127.0.0.1:{metrics}"
{daemon}

[plugins.{name}]
use = "{plugin}"
port = {port}
allow = {allow}
deny = {deny}
{options}
"""


@attrs.frozen(eq=False)
class Server:
    """A running server: where it is asked, and the process that its CPU time is read from."""

    name: str
    namespace: Namespace
    port: int
    pid: int


@attrs.define(eq=False)
class Bench:
    """What one invocation shares: a lab of namespaces, a temporary folder, the two cores, how long and how often."""

    lab: Lab
    folder: Path
    stack: contextlib.ExitStack
    seconds: float
    rounds: int
    force: bool
    server_core: int
    load_core: int
    say: Callable[[str], None]
    _port: int = 17000

    def port(self) -> int:
        """One that no other server of this bench has."""
        self._port += 1
        return self._port

    def on_core(self, core: int, *argv: str) -> list[str]:
        return ["taskset", "-c", str(core), *argv]

    def child(
        self, namespace: Namespace, *argv: str, bound: float = 60.0, environment: Mapping[str, str] | None = None
    ) -> int:
        """Start a program on the server's core that says when it is ready; it ends with the bench.  Its process id."""
        environment = os.environ | {"PYTHONPATH": python_path()} | (environment or {})
        command = self.on_core(self.server_core, *argv)
        started = Child(namespace, command, cwd=self.folder, environment=environment, bound=bound)
        return self.stack.enter_context(started).pid

    def silent_child(self, namespace: Namespace, *argv: str) -> int:
        """The same for a program that does not say when it is ready."""
        command = namespace.argv(*self.on_core(self.server_core, *argv))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder)
        self.stack.callback(process.wait)
        self.stack.callback(process.terminate)
        return process.pid

    def ours(
        self,
        namespace: Namespace,
        name: str,
        plugin: str,
        *,
        allow: Sequence[str] = ("127.0.0.0/8", "::1/128"),
        deny: Sequence[str] = ("192.0.2.0/24", "2001:db8::/32"),
        options: str = "",
        daemon: str = "",
        environment: Mapping[str, str] | None = None,
        bound: float = 60.0,
    ) -> Server:
        """`responderd run` with a policy, the metrics endpoint and the control socket, as an operator would have it."""
        port = self.port()
        config = self.folder / f"{name}.toml"
        text = CONFIG.format(
            folder=self.folder,
            name=name,
            metrics=port + 10_000,
            plugin=plugin,
            port=port,
            allow=json.dumps(list(allow)),
            deny=json.dumps(list(deny)),
            options=options,
            daemon=daemon,
        )
        config.write_text(text)
        under = with_plugins(install_plugins(self.folder))
        argv = [*under, sys.executable, "-m", "responder", "run", str(config)]
        pid = self.child(namespace, *argv, bound=bound, environment=environment)
        return Server(name, namespace, port, pid)

    def native(self, program: str) -> Path:
        """A program of native/, compiled once."""
        target = self.folder / program
        return target if target.exists() else compiled(program, self.folder)

    def undisturbed(self, measure: Callable[[], Run], tries: int = 1) -> Run:
        """A run while nothing else was at work, tried so many times; marked where there was none."""
        for attempt in range(tries):
            before = machine.Snapshot.take()
            run = measure()
            load = machine.Load.between(before, machine.Snapshot.take())
            run = attrs.evolve(run, others=load.others, stolen=load.stolen)
            if not load.disturbs:
                return run
            if self.force or attempt == tries - 1:
                break
            self.say(f"disturbed, attempt {attempt + 1} of {tries}: {load}")
        return attrs.evolve(run, disturbed=str(load))


@contextlib.contextmanager
def bench(seconds: float, rounds: int, *, force: bool, say: Callable[[str], None]) -> Iterator[Bench]:
    """A bench whose servers and namespaces go with it.  Raises ClickException where this machine can't have one."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise click.ClickException("network namespaces are needed: Linux, and root")
    server_core, load_core = machine.cores()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        lab = stack.enter_context(Lab())
        servers = stack.enter_context(contextlib.ExitStack())
        # Ourselves beside the load, which does not run while we think: the server's core is the server's.
        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {load_core})
        stack.callback(os.sched_setaffinity, 0, mine)
        yield Bench(lab, folder, servers, seconds, rounds, force, server_core, load_core, say)


def compiled(program: str, folder: Path) -> Path:
    """A program of native/, compiled into `folder`.  Raises ClickException where no compiler is, or it refuses."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise click.ClickException("a C compiler is needed (Debian: gcc libc6-dev)")
    source, target = HERE / "native" / f"{program}.c", folder / program
    done = subprocess.run([compiler, "-O2", "-o", target, source], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise click.ClickException(f"{source.name} does not compile:\n{done.stderr}")
    return target


def python_path() -> str:
    """Where our servers, started in another folder, find the project; and what was there before."""
    own = [str(PROJECT), str(PROJECT / "plugins")]
    return os.pathsep.join([*own, *filter(None, [os.environ.get("PYTHONPATH")])])


def install_plugins(folder: Path) -> Path:
    """A folder for PYTHONPATH with `measured_plugins` as an installed distribution."""
    site = folder / "site"
    info = site / "measured_plugins-1.0.dist-info"
    if not info.exists():
        info.mkdir(parents=True)
        shutil.copy(HERE / "measured_plugins.py", site)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: measured_plugins\nVersion: 1.0\n")
        lines = [f"{name} = measured_plugins:{cls}" for name, cls in PLUGINS.items()]
        (info / "entry_points.txt").write_text("\n".join(["[responder.plugins]", *lines, ""]))
    return site


@attrs.frozen
class Cost:
    """What a server's processes and its core did between two moments."""

    user: float
    system: float
    idle: float

    @classmethod
    @contextlib.contextmanager
    def of(cls, bench: Bench, server: Server) -> Iterator[list[Cost]]:
        """A list that holds the cost once the context is left."""
        found: list[Cost] = []
        user, system = machine.used_by(server.pid)
        before = machine.Snapshot.take()
        yield found
        after = machine.Snapshot.take()
        user_after, system_after = machine.used_by(server.pid)
        load = machine.Load.between(before, after)
        found.append(cls(user_after - user, system_after - system, load.idle.get(bench.server_core, 0.0)))


def generate(
    bench: Bench,
    client: Namespace,
    port: int,
    addresses: Sequence[str] = ("127.0.0.1",),
    *,
    rate: float = 0.0,
    warm_up: float = WARM_UP,
    sources: int = 0,
    says: str = "64",
) -> dict[str, Any]:
    """What load.c saw: 8 sockets with 16 requests of 64 bytes each; with a rate, an open loop of so many a second.

    `says` may be a protocol that it speaks.
    With `sources`, what sources.c saw: 128 requests, each from the next of so many loopback addresses.
    """
    outstanding = 1024 if rate else 16
    if sources:
        argv = [str(bench.native("sources")), str(port), str(bench.seconds), str(warm_up), str(sources)]
        told: dict[str, Any] = json.loads(client.run(*bench.on_core(bench.load_core, *argv)))
        return told
    numbers = [str(each) for each in (port, bench.seconds, warm_up, rate, 8, outstanding, says)]
    argv = [str(bench.native("load")), *numbers, *addresses]
    said: dict[str, Any] = json.loads(client.run(*bench.on_core(bench.load_core, *argv)))
    return said


def require_right_answers(server: Server, said: Mapping[str, Any]) -> None:
    """Raises ClickException: what answers wrongly, or not at all, is not compared."""
    if not said["answers"] or said["wrong"]:
        raise click.ClickException(f"{server.name} did not answer as it should: {json.dumps(said)}")


def echo_run(
    bench: Bench,
    server: Server,
    *,
    client: Namespace | None = None,
    addresses: Sequence[str] = ("127.0.0.1",),
    sources: int = 0,
    says: str = "64",
) -> Run:
    """How many echoes a second, or answers of a protocol, 128 in flight; see `generate`."""

    def measure() -> Run:
        with Cost.of(bench, server) as costs:
            said = generate(bench, client or server.namespace, server.port, addresses, sources=sources, says=says)
        require_right_answers(server, said)
        (cost,) = costs
        # The cost includes the warm-up; the share of it that counts is known by time.
        answers = said["answers"] * (said["seconds"] + WARM_UP) / said["seconds"]
        return Run(
            rate=said["answers"] / said["seconds"],
            cpu_us=(cost.user + cost.system) / answers * 1e6,
            user_us=cost.user / answers * 1e6,
            idle=cost.idle,
            lost=said["lost"],
        )

    return bench.undisturbed(measure)


def latency_run(bench: Bench, server: Server, rate: float) -> Run:
    """How long an echo takes at so many a second, in an open loop."""

    def measure() -> Run:
        said = generate(bench, server.namespace, server.port, rate=rate)
        require_right_answers(server, said)
        latency = said["latency_us"]
        return Run(
            rate=said["answers"] / said["seconds"],
            lost=said["lost"],
            median_us=latency["median"],
            p99_us=latency["p99"],
        )

    return bench.undisturbed(measure, TRIES)

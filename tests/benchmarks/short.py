"""The row of short answers: STUN, SNTP and CoAP beside the bundled echo, and beside coturn and chronyd.

    python -m tests.benchmarks short --force --repeat 3 --seconds 1

An answer of these protocols holds what its handler has worked out: the client's address, the time of its arrival, or a
resource; CoAP's is also remembered, for a request that comes twice.
What that may cost beside the echo is the goal.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable

from tests.lab.namespaces import Namespace
from tests.plugins.sntp.support import request as sntp_request
from tests.plugins.stun.support import message as stun_request

from .comparing import Goal, Result, alternate
from .running import Bench, Server, echo_run

PATIENCE = 30.0
"""Seconds until a peer's server must answer."""

SHORT = (
    Goal("CPU: STUN against the bundled echo", "stun", "echo", field="cpu_us", at_most=1.5),
    Goal("CPU: SNTP against the bundled echo", "sntp", "echo", field="cpu_us", at_most=1.5),
    Goal("CPU: CoAP against the bundled echo", "coap", "echo", field="cpu_us"),
    Goal("STUN against coturn", "stun", "coturn"),
    Goal("SNTP against chronyd", "sntp", "chronyd"),
)

SAYS = {"echo": "64", "stun": "stun", "sntp": "sntp", "coap": "coap", "coturn": "stun", "chronyd": "sntp"}


def coturn(bench: Bench, port: int) -> list[str]:
    """STUN alone, by one thread, without a log."""
    del bench
    options = [
        "-n",
        "--stun-only",
        "--no-tls",
        "--no-dtls",
        "--no-tcp",
        "--no-cli",
        "-m",
        "1",
        "--log-file",
        "/dev/null",
    ]
    # Its answer is then as short as ours.
    options += ["--no-rfc5780", "--no-stun-backward-compatibility", "--response-origin-only-with-rfc5780"]
    return ["turnserver", *options, "--no-software-attribute", "-L", "127.0.0.1", "-p", str(port)]


def chronyd(bench: Bench, port: int) -> list[str]:
    """A server of its own clock, which it does not set (-x)."""
    config = bench.folder / "chrony.conf"
    lines = (f"port {port}", "allow all", "local stratum 10", "cmdport 0", "bindcmdaddress /", "user root")
    config.write_text("\n".join([*lines, f"pidfile {bench.folder}/chronyd.pid", ""]))
    return ["chronyd", "-d", "-x", "-f", str(config)]


PEERS: dict[str, tuple[str, Callable[[Bench, int], list[str]], bytes]] = {
    "coturn": ("turnserver", coturn, stun_request()),
    "chronyd": ("chronyd", chronyd, sntp_request()),
}
"""Their programs, command lines, and what each answers."""


def short(bench: Bench) -> Result:
    """Answers, one core, 128 requests in flight."""
    namespace = bench.lab.namespace("short")
    servers = {
        "echo": bench.ours(namespace, "echo", "echo"),
        "stun": bench.ours(namespace, "stun", "stun"),
        "sntp": bench.ours(namespace, "sntp", "sntp", options='trust = "always"'),
        "coap": bench.ours(namespace, "coap", "coap", options='resources = { "/a" = { text = "a lab" } }'),
    }
    missing = {}
    for name, (program, command, asked) in PEERS.items():
        if shutil.which(program) is None:
            missing[name] = f"{program} is not installed"
            continue
        port = bench.port()
        pid = bench.silent_child(namespace, *command(bench, port))
        wait_for(namespace, port, asked)
        servers[name] = Server(name, namespace, port, pid)
    measures = {
        name: lambda server=server, says=SAYS[name]: echo_run(bench, server, says=says)
        for name, server in servers.items()
    }
    return Result("short", "STUN, SNTP and CoAP", alternate(measures, bench.rounds), SHORT, missing)


def wait_for(namespace: Namespace, port: int, asked: bytes) -> None:
    """Return once a server answers.  Raises TimeoutError."""
    give_up = time.monotonic() + PATIENCE
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.1)
        while time.monotonic() < give_up:
            sock.sendto(asked, ("127.0.0.1", port))
            try:
                sock.recvfrom(1500)
            except (TimeoutError, ConnectionRefusedError):
                continue
            return
    raise TimeoutError(f"nothing answers on port {port}")

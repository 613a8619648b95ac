"""NSD, Knot, BIND and PowerDNS with zones, in a namespace, for as long as a test needs them.

A server is ready when it says so: nothing sleeps here.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.lab.namespaces import Namespace

NSD = """
server:
    ip-address: {listen}@{port}
    server-count: 1
    username: ""
    chroot: ""
    zonesdir: "{folder}"
    zonelistfile: "{folder}/zone.list"
    xfrdfile: "{folder}/xfrd.state"
    xfrdir: "{folder}"
    database: ""
    pidfile: "{folder}/nsd.pid"
    verbosity: 2
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
    hide-version: yes
{server}
remote-control:
    control-enable: no
{zones}
"""

KNOT = """
server:
    listen: {listen}@{port}
    rundir: {folder}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
{server}
log:
  - target: stderr
    any: info
database:
    storage: {folder}
{zones}
"""

BIND = """
options {{
    directory "{folder}";
    listen-on port {port} {{ {listen}; }};
    listen-on-v6 {{ none; }};
    pid-file none;
    session-keyfile none;
    recursion no;
    dnssec-validation no;
{options}
}};
controls {{ }};
{zones}
"""

POWERDNS = """
launch=gsqlite3
gsqlite3-database={folder}/pdns.sqlite
local-address={listen}
local-port={port}
socket-dir={folder}
primary=yes
secondary=yes
xfr-cycle-interval=1
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
daemon=no
guardian=no
disable-syslog=yes
log-timestamp=no
loglevel=6
{more}
"""


@attrs.frozen
class Running:
    """A program: its process id, and the lines that it says from now on."""

    pid: int
    said: Iterator[str]


@contextmanager
def running(namespace: Namespace, argv: Sequence[str], ready: Collection[str]) -> Iterator[Running]:
    """A program that has said all of `ready`.

    Raises RuntimeError with what it said where it ends before.
    """
    with subprocess.Popen(
        namespace.argv(*argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        try:
            said: list[str] = []
            missing = set(ready)
            while missing:
                line = process.stdout.readline()
                if not line:
                    raise RuntimeError(f"{argv[0]} ended:\n{''.join(said)}")
                said.append(line)
                missing = {word for word in missing if word not in line}
            yield Running(process.pid, process.stdout)
        finally:
            process.terminate()
            # What it still says would stop it, were it not read.
            process.communicate(timeout=20)


def nsd(folder: Path, port: int, zones: str, *, server: str = "", listen: str = "127.0.0.1") -> list[str]:
    """The command line of NSD with `zones` (and more of `server`) as nsd.conf(5) has them."""
    config = folder / "nsd.conf"
    config.write_text(NSD.format(folder=folder, port=port, zones=zones, server=server, listen=listen))
    return ["nsd", "-d", "-c", str(config)]


def knot(folder: Path, port: int, zones: str, *, server: str = "", listen: str = "127.0.0.1") -> list[str]:
    """The command line of Knot with `zones` as knot.conf(5) has them."""
    config = folder / "knot.conf"
    config.write_text(KNOT.format(folder=folder, port=port, zones=zones, server=server, listen=listen))
    return ["knotd", "-c", str(config)]


def bind(folder: Path, port: int, zones: str, *, options: str = "", listen: str = "127.0.0.1") -> list[str]:
    """The command line of BIND with `zones` (and more `options`) as named.conf(5) has them."""
    config = folder / "named.conf"
    config.write_text(BIND.format(folder=folder, port=port, zones=zones, options=options, listen=listen))
    return ["named", "-g", "-n", "1", "-c", str(config)]


def powerdns(folder: Path, port: int, more: str = "", *, listen: str = "127.0.0.1") -> list[str]:
    """The command line of PowerDNS with a database that is still to be made, and `more` settings."""
    (folder / "pdns.conf").write_text(POWERDNS.format(folder=folder, port=port, more=more, listen=listen))
    return ["pdns_server", f"--config-dir={folder}"]

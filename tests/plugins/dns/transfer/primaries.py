"""NSD, Knot, BIND and PowerDNS with a zone `other.test`: as primaries that tell of changes, or as secondaries.

All of them run in one namespace on 127.0.0.1, and sign with one key.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import ClassVar

import attrs

from tests.lab.namespaces import Namespace
from tests.plugins.dns import peers
from tests.plugins.dns.peers import Running

SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="  # noqa: S105 - of the tests only
OURS, THEIRS = 5300, 5301
"""Ports."""

ZONE = """$TTL 300
@ SOA ns.other.test. host.other.test. {serial} 3600 600 86400 60
@ NS ns.other.test.
ns A 127.0.0.1
t TXT "{serial}"
"""
SAME = "".join(f"same{number} A 192.0.2.{number}\n" for number in range(250))
"""What no version changes: so much that differences are smaller than the zone."""

BOUND = 60.0
"""Seconds for anything that a server has to do: generous, for a loaded machine."""


def write_zone(file: Path, serial: int) -> None:
    file.write_text(ZONE.format(serial=serial) + SAME)


@attrs.define
class Other:
    """Another server with its files in a folder.

    does_ixfr  it hands on differences
    """

    namespace: Namespace
    folder: Path
    programs: ClassVar[tuple[str, ...]] = ()
    does_ixfr: ClassVar[bool] = True
    _process: Running | None = attrs.field(default=None, init=False)

    @property
    def file(self) -> Path:
        return self.folder / "other.zone"

    @property
    def process(self) -> Running:
        assert self._process is not None
        return self._process

    def wait_for(self, *words: str) -> str:
        """The next line that has all these words; a server that never says them is ended, which is an error."""
        said = []
        watchdog = threading.Timer(BOUND, os.kill, (self.process.pid, signal.SIGTERM))
        watchdog.start()
        try:
            for line in self.process.said:
                said.append(line)
                if all(word in line for word in words):
                    return line
        finally:
            watchdog.cancel()
        raise AssertionError(f"it did not say {words}, but:\n{''.join(said)}")

    @contextmanager
    def running(self, argv: list[str], ready: Collection[str]) -> Iterator[None]:
        with peers.running(self.namespace, argv, ready) as process:
            self._process = process
            yield

    def primary(self) -> AbstractContextManager[None]:
        """Serve version 7; and tell port `OURS`."""
        raise NotImplementedError

    def secondary(self) -> AbstractContextManager[None]:
        """Take version 7 from port `OURS`, and hear its NOTIFY."""
        raise NotImplementedError

    def change(self, serial: int) -> None:
        """Another version."""
        write_zone(self.file, serial)
        os.kill(self.process.pid, signal.SIGHUP)

    def taken(self, serial: int) -> str:
        """What it says when it has taken that version, as a secondary."""
        raise NotImplementedError


NSD_KEY = f"""
key:
    name: key.test
    algorithm: hmac-sha256
    secret: "{SECRET}"
"""


class Nsd(Other):
    programs = ("nsd",)

    def primary(self) -> AbstractContextManager[None]:
        write_zone(self.file, 7)
        zone = f"""{NSD_KEY}
zone:
    name: other.test
    zonefile: "{self.file}"
    provide-xfr: 127.0.0.1 key.test
    notify: 127.0.0.1@{OURS} key.test
    create-ixfr: yes
    store-ixfr: yes
"""
        return self.running(peers.nsd(self.folder, THEIRS, zone), ["nsd started"])

    def secondary(self) -> AbstractContextManager[None]:
        zone = f"""{NSD_KEY}
zone:
    name: other.test
    zonefile: "{self.file}"
    request-xfr: 127.0.0.1@{OURS} key.test
    allow-notify: 127.0.0.1 NOKEY
"""
        return self.running(peers.nsd(self.folder, THEIRS, zone), ["nsd started", self.taken(7)])

    def taken(self, serial: int) -> str:
        return f"other.test serial {serial - 1 if serial > 7 else 0} is updated to {serial}"


KNOT_KEY = f"""
key:
  - id: key.test
    algorithm: hmac-sha256
    secret: {SECRET}
"""


class Knot(Other):
    programs = ("knotd",)

    def primary(self) -> AbstractContextManager[None]:
        write_zone(self.file, 7)
        zone = f"""{KNOT_KEY}
remote:
  - id: ours
    address: 127.0.0.1@{OURS}
    key: key.test
acl:
  - id: transfers
    key: key.test
    action: transfer
zone:
  - domain: other.test
    file: {self.file}
    zonefile-load: difference
    acl: transfers
    notify: ours
"""
        return self.running(peers.knot(self.folder, THEIRS, zone), ["server started"])

    def secondary(self) -> AbstractContextManager[None]:
        zone = f"""{KNOT_KEY}
remote:
  - id: ours
    address: 127.0.0.1@{OURS}
    key: key.test
acl:
  - id: notifications
    address: 127.0.0.1
    action: notify
zone:
  - domain: other.test
    file: {self.file}
    master: ours
    acl: notifications
"""
        return self.running(peers.knot(self.folder, THEIRS, zone), ["server started", self.taken(7)])

    def taken(self, serial: int) -> str:
        return f"-> {serial}"


BIND_KEY = f"""
key "key.test" {{
    algorithm hmac-sha256;
    secret "{SECRET}";
}};
"""


class Bind(Other):
    programs = ("named",)

    def _argv(self, zone: str) -> list[str]:
        return peers.bind(
            self.folder, THEIRS, f'key "key.test" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n{zone}'
        )

    def primary(self) -> AbstractContextManager[None]:
        write_zone(self.file, 7)
        zone = f"""zone "other.test" {{
    type primary;
    file "{self.file}";
    allow-transfer {{ key key.test; }};
    notify explicit;
    also-notify {{ 127.0.0.1 port {OURS} key key.test; }};
    ixfr-from-differences yes;
}};"""
        return self.running(self._argv(zone), ["all zones loaded", "running"])

    def secondary(self) -> AbstractContextManager[None]:
        zone = f"""zone "other.test" {{
    type secondary;
    file "{self.file}";
    primaries {{ 127.0.0.1 port {OURS} key key.test; }};
    allow-notify {{ 127.0.0.1; }};
    notify no;
}};"""
        return self.running(self._argv(zone), ["running", self.taken(7)])

    def taken(self, serial: int) -> str:
        return f"transferred serial {serial}: TSIG 'key.test'"


class PowerDns(Other):
    programs = ("pdns_server", "pdnsutil", "pdns_control")
    does_ixfr = False

    def _prepare(self, *commands: str) -> list[str]:
        argv = peers.powerdns(self.folder, THEIRS, f"also-notify=127.0.0.1:{OURS}\n")
        schema = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql").read_text()
        with sqlite3.connect(self.folder / "pdns.sqlite") as database:
            database.executescript(schema)
        database.close()
        for command in ("import-tsig-key key.test hmac-sha256 " + SECRET, *commands):
            self._util(*command.split())
        return argv

    def _util(self, *argv: str) -> None:
        self.namespace.run("pdnsutil", f"--config-dir={self.folder}", *argv)

    def primary(self) -> AbstractContextManager[None]:
        write_zone(self.file, 7)
        argv = self._prepare(
            f"load-zone other.test {self.file}",
            "set-kind other.test primary",
            "activate-tsig-key other.test key.test primary",
        )
        return self.running(argv, ["ready to distribute questions"])

    def secondary(self) -> AbstractContextManager[None]:
        argv = self._prepare(
            f"create-secondary-zone other.test 127.0.0.1:{OURS}",
            "activate-tsig-key other.test key.test secondary",
        )
        return self.running(argv, ["ready to distribute questions", self.taken(7)])

    def change(self, serial: int) -> None:
        write_zone(self.file, serial)
        self._util("load-zone", "other.test", str(self.file))
        self.namespace.run("pdns_control", f"--config-dir={self.folder}", "notify", "other.test")

    def taken(self, serial: int) -> str:
        return f"zone committed with serial {serial}"


OTHERS: dict[str, type[Other]] = {"nsd": Nsd, "knot": Knot, "bind": Bind, "powerdns": PowerDns}

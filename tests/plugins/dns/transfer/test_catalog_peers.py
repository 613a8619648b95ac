"""Catalog zones (RFC 9432) go to and come from Knot and BIND: their members come and go."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import attrs
import pytest

from tests.lab.daemon import Child, daemon
from tests.lab.namespaces import Lab, Namespace
from tests.plugins.dns import peers
from tests.plugins.dns.transfer.primaries import BIND_KEY, KNOT_KEY, OURS, SECRET, THEIRS, Other

pytestmark = [pytest.mark.lab, pytest.mark.clients("dig", "knotd", "named")]

DAEMON = f"""
[daemon]
state = "state"

[plugins.dns]
port = {OURS}
transfer_keys = {{ "key.test" = {{ secret = "{SECRET}" }} }}
"""

CONSUMER = f"""{DAEMON}
[plugins.dns.secondary."catalog.test"]
primaries = ["127.0.0.1:{THEIRS}"]
key = "key.test"
catalog = true
"""

MEMBER = """$TTL 300
@ SOA ns.{name}. host.{name}. 7 3600 600 86400 60
@ NS ns.{name}.
ns A 127.0.0.1
t TXT "{name}"
"""

CATALOG = """$TTL 0
@ SOA invalid. invalid. {serial} 3600 600 86400 0
@ NS invalid.
version TXT "2"
"""

KNOT = f"""{KNOT_KEY}
remote:
  - id: ours
    address: 127.0.0.1@{OURS}
    key: key.test
acl:
  - id: ours
    address: 127.0.0.1
    action: notify
  - id: transfers
    key: key.test
    action: transfer
"""


def write_members(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.zone").write_text(MEMBER.format(name=name))


@attrs.define
class KnotCatalogs(Other):
    """Knot with a catalog that it generates, or takes from us."""

    def argv(self, zones: str) -> list[str]:
        return peers.knot(self.folder, THEIRS, KNOT + zones)

    def members(self, *names: str) -> list[str]:
        write_members(self.folder, *names)
        zones = "zone:\n  - domain: catalog.test\n    catalog-role: generate\n    acl: transfers\n    notify: ours\n"
        for name in names:
            zones += f"  - domain: {name}\n    file: {self.folder}/{name}.zone\n    catalog-role: member\n"
            zones += "    catalog-zone: catalog.test\n    acl: transfers\n    notify: ours\n"
        return self.argv(zones)

    def producing(self, *names: str) -> AbstractContextManager[None]:
        return self.running(self.members(*names), ["server started"])

    def list(self, *names: str) -> None:
        self.members(*names)
        os.kill(self.process.pid, signal.SIGHUP)

    def consuming(self) -> AbstractContextManager[None]:
        template = f"template:\n  - id: member\n    master: ours\n    acl: ours\n    storage: {self.folder}\n"
        zone = "zone:\n  - domain: catalog.test\n    master: ours\n    acl: ours\n"
        zone += "    catalog-role: interpret\n    catalog-template: member\n"
        return self.running(self.argv(template + zone), ["server started", "[one.test.] zone file updated"])

    def added(self, name: str) -> str:
        return f"[{name}.] zone file updated"

    def removed(self, name: str) -> str:
        return f"[{name}.] zone purged"


@attrs.define
class BindCatalogs(Other):
    """BIND with a catalog from a file, or from us."""

    serial: int = 0

    def argv(self, zones: str, options: str = "") -> list[str]:
        return peers.bind(self.folder, THEIRS, BIND_KEY + zones, options=options)

    def members(self, *names: str) -> list[str]:
        write_members(self.folder, *names)
        self.serial += 1
        listed = "".join(f"{name.replace('.', '-')}.zones PTR {name}.\n" for name in names)
        (self.folder / "catalog.test.zone").write_text(CATALOG.format(serial=self.serial) + listed)
        return self.argv(
            "".join(
                f'zone "{name}" {{ type primary; file "{self.folder}/{name}.zone"; allow-transfer {{ key key.test; }};'
                f" notify explicit; also-notify {{ 127.0.0.1 port {OURS} key key.test; }}; }};\n"
                for name in ("catalog.test", *names)
            )
        )

    def producing(self, *names: str) -> AbstractContextManager[None]:
        return self.running(self.members(*names), ["all zones loaded", "running"])

    def list(self, *names: str) -> None:
        self.members(*names)
        os.kill(self.process.pid, signal.SIGHUP)

    def consuming(self) -> AbstractContextManager[None]:
        primaries = f"127.0.0.1 port {OURS} key key.test;"
        options = f'catalog-zones {{ zone "catalog.test" default-primaries {{ {primaries} }} min-update-interval 1; }};'
        zone = f'zone "catalog.test" {{ type secondary; file "{self.folder}/catalog"; primaries {{ {primaries} }}; }};'
        return self.running(self.argv(zone, options), ["running", "zone one.test/IN: transferred serial 7"])

    def added(self, name: str) -> str:
        return f"zone {name}/IN: transferred serial 7"

    def removed(self, name: str) -> str:
        return f"deleting zone '{name}'"


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    with Lab() as lab:
        yield lab.namespace("dns")


@pytest.fixture(params=[KnotCatalogs, BindCatalogs], ids=["knot", "bind"])
def other(request: pytest.FixtureRequest, namespace: Namespace, tmp_path: Path) -> KnotCatalogs | BindCatalogs:
    folder = tmp_path / "other"
    folder.mkdir()
    made: KnotCatalogs | BindCatalogs = request.param(namespace, folder)
    return made


def said(namespace: Namespace, port: int, name: str) -> str:
    """The text of a zone, or the status that it is answered with."""
    asked = ("@127.0.0.1", "-p", str(port), f"t.{name}", "TXT", "+tries=1", "+timeout=20")
    answer = namespace.run("dig", *asked)
    if "status: NOERROR" not in answer:
        return answer.partition("status: ")[2].partition(",")[0]
    return namespace.run("dig", *asked, "+short").strip().strip('"')


def wait_for(child: Child, event: str, **fields: object) -> None:
    """The next event of that name that has these fields."""
    while True:
        found = child.wait_for(event)
        if all(found.get(name) == value for name, value in fields.items()):
            return


def ours(namespace: Namespace, folder: Path, config: str) -> Child:
    (folder / "dns.toml").write_text(config)
    return daemon(namespace, folder / "dns.toml", folder=folder)


def test_members_of_their_catalog_are_served_here(
    other: KnotCatalogs | BindCatalogs, namespace: Namespace, tmp_path: Path
) -> None:
    with other.producing("one.test"), ours(namespace, tmp_path, CONSUMER) as child:
        wait_for(child, "a zone was transferred", zone="one.test.")
        assert said(namespace, OURS, "one.test") == "one.test"
        other.list("two.test", "three.test")
        wait_for(child, "a catalog zone was processed", new=2, gone=1)
        for _ in range(2):
            child.wait_for("a zone was transferred")
        answers = [said(namespace, OURS, name) for name in ("one.test", "two.test", "three.test")]
        assert answers == ["REFUSED", "two.test", "three.test"]
    with ours(namespace, tmp_path, CONSUMER):
        assert said(namespace, OURS, "three.test") == "three.test"


def test_our_zones_are_served_there(other: KnotCatalogs | BindCatalogs, namespace: Namespace, tmp_path: Path) -> None:
    write_members(tmp_path, "one.test", "two.test")

    def config(*names: str) -> str:
        zones = ", ".join(f'"{name}" = "{name}.zone"' for name in names)
        notify = f'notify = {{ "catalog.test" = ["127.0.0.1:{THEIRS}"] }}'
        return f'{DAEMON}zones = {{ {zones} }}\ncatalog = "catalog.test"\n{notify}\n'

    with ours(namespace, tmp_path, config("one.test")) as child, other.consuming():
        (tmp_path / "dns.toml").write_text(config("two.test"))
        child.signal(signal.SIGHUP)
        child.wait_for("reloaded")
        waiting = {other.added("two.test"), other.removed("one.test")}
        while waiting:
            line = other.wait_for("")
            waiting = {each for each in waiting if each not in line}
        assert said(namespace, THEIRS, "two.test") == "two.test"
        assert said(namespace, THEIRS, "one.test") == "REFUSED"

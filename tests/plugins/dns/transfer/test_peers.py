"""Zones go to and come from NSD, Knot, BIND and PowerDNS: signed (TSIG), by AXFR and IXFR, at a NOTIFY."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.daemon import Child, daemon
from tests.lab.namespaces import Lab, Namespace
from tests.plugins.dns.transfer.primaries import OTHERS, OURS, SECRET, THEIRS, Other, write_zone

pytestmark = [pytest.mark.lab, pytest.mark.clients("dig", "nsd", "knotd", "named", "pdns_server")]

KEY = f'transfer_keys = {{ "key.test" = {{ secret = "{SECRET}" }} }}'

SECONDARY = f"""
[daemon]
state = "state"

[plugins.dns]
port = {OURS}
{KEY}

[plugins.dns.secondary."other.test"]
primaries = ["127.0.0.1:{THEIRS}"]
key = "key.test"
"""

PRIMARY = f"""
[daemon]
state = "state"

[plugins.dns]
port = {OURS}
zones = {{ "other.test" = "own.zone" }}
notify = {{ "other.test" = ["127.0.0.1:{THEIRS}"] }}
{KEY}
"""


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    with Lab() as lab:
        yield lab.namespace("dns")


@pytest.fixture(params=OTHERS)
def other(request: pytest.FixtureRequest, namespace: Namespace, tmp_path: Path) -> Other:
    folder = tmp_path / "other"
    folder.mkdir()
    return OTHERS[request.param](namespace, folder)


def text(namespace: Namespace, port: int) -> str:
    asked = ("@127.0.0.1", "-p", str(port), "t.other.test", "TXT", "+short", "+tries=1", "+timeout=20")
    return namespace.run("dig", *asked).strip().strip('"')


def whole(namespace: Namespace, port: int) -> list[str]:
    """The zone as AXFR has it, sorted, in lower case."""
    asked = ("@127.0.0.1", "-p", str(port), "-y", f"hmac-sha256:key.test:{SECRET}", "other.test", "AXFR")
    said = namespace.run("dig", *asked, "+noall", "+answer").lower()
    return sorted(" ".join(line.split()) for line in said.splitlines() if "tsig" not in line)


def ours(namespace: Namespace, folder: Path, config: str) -> Child:
    (folder / "dns.toml").write_text(config)
    return daemon(namespace, folder / "dns.toml", folder=folder)


def test_its_zone_is_taken_and_its_changes_as_it_tells_of_them(
    other: Other, namespace: Namespace, tmp_path: Path
) -> None:
    """The copy is then served when nobody else is there."""
    with other.primary(), ours(namespace, tmp_path, SECONDARY) as child:
        assert child.wait_for("a zone was transferred")["serial"] == 7
        assert text(namespace, OURS) == "7"
        for serial in (8, 9):
            other.change(serial)
            event = child.wait_for("a zone was transferred")
            assert (event["serial"], event["changes"]) == (serial, 1 if other.does_ixfr else None)
            assert text(namespace, OURS) == str(serial)
        assert whole(namespace, OURS) == whole(namespace, THEIRS)
        assert len(whole(namespace, OURS)) == 255
    with ours(namespace, tmp_path, SECONDARY):
        assert text(namespace, OURS) == "9"


def test_it_takes_our_zone_and_its_changes_as_we_tell_of_them(
    other: Other, namespace: Namespace, tmp_path: Path
) -> None:
    file = tmp_path / "own.zone"
    write_zone(file, 7)
    with ours(namespace, tmp_path, PRIMARY) as child, other.secondary():
        for serial in (8, 9):
            write_zone(file, serial)
            child.signal(signal.SIGHUP)
            other.wait_for(other.taken(serial))
        assert text(namespace, THEIRS) == "9"

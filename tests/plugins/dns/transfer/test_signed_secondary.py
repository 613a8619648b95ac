"""A zone of Knot's that is signed here on its way to NSD: each change arrives with signatures that validate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.daemon import daemon
from tests.lab.namespaces import Lab, Namespace
from tests.plugins.dns import peers
from tests.plugins.dns.transfer.primaries import NSD_KEY, OURS, SECRET, THEIRS, Knot, Nsd
from tests.plugins.dns.transfer.test_peers import KEY, text, whole

pytestmark = [pytest.mark.lab, pytest.mark.clients("dig", "knotd", "nsd", "ldns-verify-zone")]

NSD_PORT = 5302

CONFIG = f"""
[daemon]
state = "state"

[plugins.dns]
port = {OURS}
notify = {{ "other.test" = ["127.0.0.1:{NSD_PORT}"] }}
{KEY}

[plugins.dns.secondary."other.test"]
primaries = ["127.0.0.1:{THEIRS}"]
key = "key.test"

[plugins.dns.sign."other.test"]
keys = "keys"
"""


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    with Lab() as lab:
        yield lab.namespace("dns")


def test_it_arrives_signed(namespace: Namespace, tmp_path: Path) -> None:
    for name in ("knot", "nsd"):
        (tmp_path / name).mkdir()
    (tmp_path / "dns.toml").write_text(CONFIG)
    knot, nsd = Knot(namespace, tmp_path / "knot"), Nsd(namespace, tmp_path / "nsd")
    zone = f"""{NSD_KEY}
zone:
    name: other.test
    zonefile: "{nsd.file}"
    request-xfr: 127.0.0.1@{OURS} key.test
    allow-notify: 127.0.0.1 NOKEY
    provide-xfr: 127.0.0.1 key.test
"""
    with knot.primary(), daemon(namespace, tmp_path / "dns.toml", folder=tmp_path) as child:
        assert child.wait_for("a zone was signed")["serial"] == 8
        argv = peers.nsd(nsd.folder, NSD_PORT, zone)
        with nsd.running(argv, ["nsd started", "other.test serial 0 is updated to 8"]):
            for serial in (8, 9):
                knot.change(serial)
                assert child.wait_for("a zone was signed")["serial"] == serial + 1
                nsd.wait_for(f"other.test serial {serial} is updated to {serial + 1}")
                assert text(namespace, OURS) == text(namespace, NSD_PORT) == str(serial)
            assert whole(namespace, NSD_PORT) == whole(namespace, OURS)
            checked = tmp_path / "checked.zone"
            asked = ("@127.0.0.1", "-p", str(NSD_PORT), "-y", f"hmac-sha256:key.test:{SECRET}", "other.test", "AXFR")
            checked.write_text(namespace.run("dig", *asked, "+noall", "+answer", "+onesoa").replace("key.test.", ";"))
            namespace.run("ldns-verify-zone", str(checked))
    assert any("transfer-increment" in line for line in child.said), "NSD takes what has changed"

"""A secondary on the multihomed host: primaries are asked from the address that their NOTIFY came to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.dns import peers

from .daemon import daemon
from .multihomed import Multihomed

pytestmark = [pytest.mark.lab, pytest.mark.clients("dig", "knotd")]

CONFIG = """
[daemon]
state = "state"

[plugins.dns]
port = 5300

[plugins.dns.secondary."other.test"]
primaries = ["{primary}:5301"]
"""

PRIMARY = """
remote:
  - id: known
    address: {known}@5300
acl:
  - id: known
    address: {known}
    action: transfer
zone:
  - domain: other.test
    file: {folder}/other.zone
    acl: known
    notify: known
"""
"""It gives the zone to one address of the host alone, which is not the one that the system chooses."""

ZONE = """$TTL 300
@ SOA ns host 7 3600 600 86400 60
@ NS ns
ns A 10.71.0.9
t TXT "7"
"""


@pytest.mark.parametrize(("primary", "known"), [("10.71.0.9", "10.71.0.2"), ("fd71::9", "fd71::2")])
def test_a_primary_is_asked_from_the_address_that_it_knows(
    network: Multihomed, tmp_path: Path, primary: str, known: str
) -> None:
    (tmp_path / "other.zone").write_text(ZONE)
    config = tmp_path / "dns.toml"
    config.write_text(CONFIG.format(primary=primary if "." in primary else f"[{primary}]"))
    knot = peers.knot(tmp_path, 5301, PRIMARY.format(known=known, folder=tmp_path), listen=primary)
    with daemon(network.host, config, folder=tmp_path) as child:
        child.wait_for("a zone can't be checked or transferred")  # nobody is there yet
        with peers.running(network.clients[1], knot, ["server started"]):
            assert child.wait_for("a zone was transferred")["serial"] == 7
        asked = (f"@{known}", "-p", "5300", "t.other.test", "TXT", "+short", "+tries=1", "+timeout=20")
        assert network.clients[1].run("dig", *asked).strip() == '"7"'

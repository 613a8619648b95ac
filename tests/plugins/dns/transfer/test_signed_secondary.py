"""A zone of Knot's that is signed here on its way to others: each change arrives with signatures that validate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.daemon import daemon
from tests.lab.namespaces import Lab, Namespace
from tests.plugins.dns import peers
from tests.plugins.dns.transfer.primaries import BIND_KEY, NSD_KEY, OURS, SECRET, THEIRS, Bind, Knot, Nsd, Other
from tests.plugins.dns.transfer.test_peers import KEY, text, whole

pytestmark = [pytest.mark.lab, pytest.mark.clients("dig", "knotd", "nsd", "named", "ldns-verify-zone")]

NEXT = 5302

CONFIG = f"""
[daemon]
state = "state"

[plugins.dns]
port = {OURS}
notify = {{ "other.test" = ["127.0.0.1:{NEXT}"] }}
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


def nsd(namespace: Namespace, folder: Path) -> tuple[Other, list[str], str]:
    """The server, its command line, and what it says once it has the first version."""
    other = Nsd(namespace, folder)
    zone = f"""{NSD_KEY}
zone:
    name: other.test
    zonefile: "{other.file}"
    request-xfr: 127.0.0.1@{OURS} key.test
    allow-notify: 127.0.0.1 NOKEY
    provide-xfr: 127.0.0.1 key.test
"""
    return other, peers.nsd(folder, NEXT, zone), "other.test serial 0 is updated to 8"


def bind(namespace: Namespace, folder: Path) -> tuple[Other, list[str], str]:
    other = Bind(namespace, folder)
    zone = f"""{BIND_KEY}
zone "other.test" {{
    type secondary;
    file "{other.file}";
    primaries {{ 127.0.0.1 port {OURS} key key.test; }};
    allow-notify {{ 127.0.0.1; }};
    allow-transfer {{ key key.test; }};
    notify no;
}};"""
    return other, peers.bind(folder, NEXT, zone), other.taken(8)


@pytest.mark.parametrize("next_one", [nsd, bind])
def test_it_arrives_signed(
    namespace: Namespace, tmp_path: Path, next_one: Callable[[Namespace, Path], tuple[Other, list[str], str]]
) -> None:
    for name in ("knot", "next"):
        (tmp_path / name).mkdir()
    (tmp_path / "dns.toml").write_text(CONFIG)
    knot = Knot(namespace, tmp_path / "knot")
    with knot.primary(), daemon(namespace, tmp_path / "dns.toml", folder=tmp_path) as child:
        assert child.wait_for("a zone was signed")["serial"] == 8
        other, argv, ready = next_one(namespace, tmp_path / "next")
        with other.running(argv, [ready]):
            for serial in (8, 9):
                knot.change(serial)
                assert child.wait_for("a zone was signed")["serial"] == serial + 1
                other.wait_for(other.taken(serial + 1))
                assert text(namespace, OURS) == text(namespace, NEXT) == str(serial)
            assert whole(namespace, NEXT) == whole(namespace, OURS)
            checked = tmp_path / "checked.zone"
            asked = ("@127.0.0.1", "-p", str(NEXT), "-y", f"hmac-sha256:key.test:{SECRET}", "other.test", "AXFR")
            checked.write_text(namespace.run("dig", *asked, "+noall", "+answer", "+onesoa").replace("key.test.", ";"))
            namespace.run("ldns-verify-zone", str(checked))
    assert any('"transfer-increment": 2' in line for line in child.said), "it took what has changed"

"""Zones come from NSD, BIND and another responderd within TLS (RFC 9103); Knot serves that from 3.4 on only."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import attrs
import pytest

from tests.lab.daemon import Child, daemon
from tests.lab.namespaces import Lab, Namespace
from tests.plugins.dns import peers
from tests.plugins.dns.certificates import Authority
from tests.plugins.dns.transfer.primaries import BIND_KEY, NSD_KEY, OURS, THEIRS, Bind, Nsd, Other, write_zone
from tests.plugins.dns.transfer.test_peers import KEY, text, whole

pytestmark = [pytest.mark.lab, pytest.mark.clients("dig", "nsd", "named")]

NAME = "ns.example.test"

TLS = 'names = ["ns.example.test"], ca = "ca.pem"'


def secondary(tls: str = TLS, primaries: str = '"127.0.0.1"') -> str:
    return f"""
[daemon]
state = "state"

[plugins.dns]
port = {OURS}
{KEY}

[plugins.dns.secondary."other.test"]
primaries = [{primaries}]
key = "key.test"
tls = {{ {tls} }}
"""


class NsdByTls(Nsd):
    """On port 853 within TLS."""

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
        server = f"""
    ip-address: 127.0.0.1@853
    tls-service-key: "{self.folder.parent}/server.key"
    tls-service-pem: "{self.folder.parent}/server.pem"
"""
        return self.running(peers.nsd(self.folder, THEIRS, zone, server=server), ["nsd started"])


@attrs.define
class BindByTls(Bind):
    """On ports 853 and 8853 within TLS, without which nobody gets the zone; `more` stands in the block `tls`."""

    more: str = ""

    def primary(self) -> AbstractContextManager[None]:
        write_zone(self.file, 7)
        folder = self.folder.parent
        zone = f"""{BIND_KEY}
tls ours {{
    cert-file "{folder}/server.pem";
    key-file "{folder}/server.key";
    {self.more}
}};
zone "other.test" {{
    type primary;
    file "{self.file}";
    allow-transfer transport tls {{ key key.test; }};
    notify explicit;
    also-notify {{ 127.0.0.1 port {OURS} key key.test; }};
    ixfr-from-differences yes;
}};"""
        options = "".join(f"listen-on port {port} tls ours {{ 127.0.0.1; }};" for port in (853, 8853))
        argv = peers.bind(self.folder, THEIRS, zone, options=options)
        return self.running(argv, ["all zones loaded", "running"])


@attrs.define
class Responderd(Other):
    """Another daemon of ours, on port 853 within TLS."""

    _child: Child | None = attrs.field(default=None, init=False)

    @contextmanager
    def primary(self) -> Iterator[None]:
        write_zone(self.file, 7)
        (self.folder / "dns.toml").write_text(f"""
[daemon]
state = "state"

[plugins.dns]
port = {THEIRS}
zones = {{ "other.test" = "other.zone" }}
notify = {{ "other.test" = ["127.0.0.1:{OURS}"] }}
tls = {{ certificate = "../server.pem", key = "../server.key", serve = ["tls"] }}
{KEY}
""")
        with daemon(self.namespace, self.folder / "dns.toml", folder=self.folder) as child:
            self._child = child
            yield

    def change(self, serial: int) -> None:
        assert self._child is not None
        write_zone(self.file, serial)
        self._child.signal(signal.SIGHUP)


OTHERS: dict[str, type[Other]] = {"nsd": NsdByTls, "bind": BindByTls, "responderd": Responderd}


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    with Lab() as lab:
        yield lab.namespace("dns")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a certificate of `NAME`, and `other` for another server."""
    Authority(tmp_path).issue()
    (tmp_path / "other").mkdir()
    return tmp_path


def ours(namespace: Namespace, folder: Path, config: str) -> AbstractContextManager[Child]:
    (folder / "dns.toml").write_text(config)
    return daemon(namespace, folder / "dns.toml", folder=folder)


@pytest.mark.parametrize("kind", OTHERS)
def test_its_zone_is_taken_and_its_changes_as_it_tells_of_them(kind: str, namespace: Namespace, folder: Path) -> None:
    other = OTHERS[kind](namespace, folder / "other")
    with other.primary(), ours(namespace, folder, secondary()) as child:
        event = child.wait_for("a zone was transferred")
        assert (event["serial"], event["primary"]) == (7, "127.0.0.1:853")
        for serial in (8, 9):
            other.change(serial)
            event = child.wait_for("a zone was transferred")
            assert (event["serial"], event["changes"]) == (serial, 1)
            assert text(namespace, OURS) == str(serial)
        assert len(whole(namespace, OURS)) == 255


def test_a_primary_of_another_name_is_left_for_the_next_and_that_is_told(namespace: Namespace, folder: Path) -> None:
    other = BindByTls(namespace, folder / "other")
    names = f'names = ["ns.other.test", "{NAME}"], ca = "ca.pem"'
    with other.primary(), ours(namespace, folder, secondary(names, '"127.0.0.1", "127.0.0.1:8853"')) as child:
        assert child.wait_for("a zone was transferred")["primary"] == "127.0.0.1:8853"
        assert child.wait_for("a primary can't be asked")["reason"] == (
            "127.0.0.1:853: TLS failed: its certificate is not good:"
            " Hostname mismatch, certificate is not valid for 'ns.other.test'"
        )


@pytest.mark.parametrize(
    ("ours_more", "is_given"),
    [(', certificate = "client.pem", key = "client.key"', True), ("", False)],
    ids=["with a certificate", "without"],
)
def test_a_primary_that_wants_our_certificate(
    namespace: Namespace, folder: Path, ours_more: str, is_given: bool
) -> None:
    authority = Authority(folder)
    authority.issue()
    authority.issue("client")
    other = BindByTls(namespace, folder / "other", more=f'ca-file "{folder}/ca.pem";')
    with other.primary(), ours(namespace, folder, secondary(TLS + ours_more)) as child:
        if is_given:
            assert child.wait_for("a zone was transferred")["serial"] == 7
        else:
            assert child.wait_for("a zone can't be checked or transferred")["reason"] == (
                "127.0.0.1:853: TLS failed: it ended the connection after the handshake:"
                " does it want another certificate of ours?"
            )


def test_one_primary_by_its_own_certificate_and_many_zones_of_it(namespace: Namespace, folder: Path) -> None:
    """A catalog: its members come in the same way."""
    with ExitStack() as stack:
        zones = "".join(f', "m{number}.test" = "other.zone"' for number in range(100))
        write_zone(folder / "other" / "other.zone", 7)
        (folder / "other" / "dns.toml").write_text(f"""
[plugins.dns]
port = {THEIRS}
zones = {{ "other.test" = "other.zone"{zones} }}
catalog = "catalog.test"
tls = {{ certificate = "../server.pem", key = "../server.key", serve = ["tls"] }}
{KEY}
""")
        stack.enter_context(daemon(namespace, folder / "other" / "dns.toml", folder=folder / "other"))
        config = secondary('ca = "server.pem"').replace('"other.test"]', '"catalog.test"]\ncatalog = true')
        child = stack.enter_context(ours(namespace, folder, config))
        taken = {child.wait_for("a zone was transferred")["zone"] for _ in range(102)}
        assert len(taken) == 102

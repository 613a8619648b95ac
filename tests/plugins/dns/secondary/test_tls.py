"""The option `tls` of a secondary: what of it is a mistake, whom it applies to, and what a failure leads to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from responder_plugins.dns import Dns, PrimaryTls, Secondary
from responder_plugins.dns.transfer.primary import Primary, TlsFailed
from trio.testing import MockClock

from responder import ConfigErrors, Context, Peer
from tests.plugins.dns.certificates import Authority
from tests.plugins.dns.secondary.support import OTHER, SECOND, Primaries, running, said, secondary, zone_of
from tests.plugins.dns.secondary.test_catalogs import CATALOG, ONE, catalog

NAMED = PrimaryTls(names=("ns1.example.test",))


def primaries_of(folder: Path, given: Secondary) -> tuple[Primary, ...]:
    handler = Dns(secondary={"other.test": given}).prepare(Context("dns", folder))
    return handler.secondaries.zones[OTHER].source.primaries  # type: ignore[attr-defined, no-any-return]  # a DnsHandler


def test_ports_and_names(tmp_path: Path) -> None:
    addresses = ("192.0.2.53", "192.0.2.54:8853", "2001:db8::53")
    assert [each.server.port for each in primaries_of(tmp_path, Secondary(primaries=addresses))] == [53, 8853, 53]
    for names in (("ns.example.test.",), ("a.test", "b.test", "192.0.2.1")):
        found = primaries_of(tmp_path, Secondary(primaries=addresses, tls=PrimaryTls(names=names)))
        assert [each.server.port for each in found] == [853, 8853, 853]
        shown = [each.tls.name for each in found if each.tls is not None]
        assert shown == (["ns.example.test"] * 3 if len(names) == 1 else [*names])


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        ({}, r"expected names, or ca"),
        ({"opportunistic": True, "names": ("a.test",)}, "opportunistic: not with names or ca"),
        ({"opportunistic": True, "ca": Path("ca.pem")}, "opportunistic: not with names or ca"),
        ({"names": ("a.test",), "certificate": Path("client.pem")}, "certificate, key: neither without the other"),
        ({"names": ("a.test",), "key": Path("client.key")}, "certificate, key: neither without the other"),
    ],
)
def test_tables_that_make_no_sense(options: dict[str, Any], mistake: str) -> None:
    with pytest.raises(ValueError, match=mistake):
        PrimaryTls(**options)


def test_names_are_one_or_as_many_as_primaries() -> None:
    with pytest.raises(ValueError, match=r"tls\.names: expected one name, or one for each of primaries"):
        Secondary(primaries=("192.0.2.1",), tls=PrimaryTls(names=("a.test", "b.test")))


def test_mistakes_in_names_and_files_are_told_with_their_keys(tmp_path: Path) -> None:
    Authority(tmp_path).issue("client")
    (tmp_path / "client.key").write_text("hello")
    tls = PrimaryTls(names=("a..b",), ca=Path("no.pem"))
    other = PrimaryTls(ca=Path("ca.pem"), certificate=Path("client.pem"), key=Path("client.key"))
    given = {
        "a.test": Secondary(primaries=("192.0.2.1",), tls=tls),
        "b.test": Secondary(primaries=("192.0.2.1",), tls=other),
    }
    with pytest.raises(ConfigErrors) as caught:
        Dns(secondary=given).prepare(Context("dns", tmp_path))
    assert [error.path for error in caught.value.errors] == [
        'secondary."a.test".tls.ca',
        'secondary."a.test".tls.names[0]',
        'secondary."b.test".tls.key',
    ]


async def test_a_primary_without_tls_is_told_once_and_the_next_one_is_asked(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    primaries = Primaries()
    first = Peer("192.0.2.53", 853)
    primaries.zones[first, OTHER] = TlsFailed("TLS failed: it does not speak TLS 1.3")
    primaries.zones[SECOND, OTHER] = zone_of(tmp_path, 7)
    given = {"other.test": Secondary(primaries=("192.0.2.53", "[2001:db8::53]:5353"), tls=NAMED)}
    handler = secondary(tmp_path, primaries, given)
    async with running(handler, tmp_path):
        await trio.sleep(3_500)
        assert said(handler) == "7"
    told = [record.getMessage() for record in caplog.records if "it does not speak TLS" in record.getMessage()]
    assert len(told) == 1
    assert "a primary can't be asked" in told[0]
    assert "192.0.2.53:853: TLS failed: it does not speak TLS 1.3" in told[0]
    checks = len(primaries.times("SOA")) // 2 + 1
    assert checks > 5
    assert handler.counts()["transfer-in-tls-failed"] == checks
    assert handler.counts()["transfer-in-failed"] == 0


async def test_a_reload_goes_on_with_what_is_there_and_members_of_a_catalog_come_in_the_same_way(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    primaries = Primaries()
    server = Peer("192.0.2.53", 853)
    primaries.zones[server, CATALOG] = catalog(tmp_path, 1, "a.zones PTR one.test.\n")
    primaries.zones[server, ONE] = zone_of(tmp_path, 7, name="one.test")
    given = {"cat.test": Secondary(primaries=("192.0.2.53",), catalog=True, tls=NAMED)}
    handler = secondary(tmp_path, primaries, given)
    async with running(handler, tmp_path):
        await trio.sleep(10)
        assert said(handler, "t.one.test") == "7"
    assert handler.secondaries is not None
    (member,) = handler.secondaries.zones[ONE].source.primaries
    assert member.tls is not None
    assert member.tls.name == "ns1.example.test"
    successor = secondary(tmp_path, primaries, given)
    successor.succeed(handler)
    assert successor.secondaries is not None
    for origin in (CATALOG, ONE):
        assert successor.secondaries.zones[origin].due == handler.secondaries.zones[origin].due

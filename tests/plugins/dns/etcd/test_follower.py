"""The real etcd, followed: listed, watched, compacted, restarted, restored, away, with TLS and with users."""

from __future__ import annotations

import logging
import shutil
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dns.message
import pytest
import trio
from responder_plugins.dns import Dns, Etcd
from responder_plugins.dns.etcd import follower as follower_module
from responder_plugins.dns.etcd.client import EtcdClient
from responder_plugins.dns.etcd.follower import Follower
from responder_plugins.dns.etcd.services import Services
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.zone.tables import Zone

from responder import ConfigErrors, Context, Secret
from tests.plugins.dns.certificates import Authority
from tests.plugins.dns.etcd.server import EtcdServer, free_ports, running
from tests.plugins.dns.etcd.test_skydns import contents
from tests.plugins.dns.support import ask, texts

pytestmark = pytest.mark.clients("etcd")

ZONE = "cluster.test"
KEY = "test/cluster"
BOUND = 60.0
"""Seconds for what has to come: never waited out when all is well."""


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    with running(tmp_path / "etcd") as server:
        yield server


def prepared(folder: Path, **options: Any) -> DnsHandler:
    options.setdefault("zones", (ZONE,))
    handler = Dns(etcd=Etcd(**options)).prepare(Context("dns", folder))
    assert isinstance(handler, DnsHandler)
    return handler


def follower_of(handler: DnsHandler) -> Follower:
    assert handler._etcd is not None
    return handler._etcd


class Served:
    """What a follower tells of its zones goes to a handler, and who waits is told."""

    def __init__(self, handler: DnsHandler) -> None:
        self.handler = handler
        self.follower = follower_of(handler)
        self._changed = trio.Event()

    def replace(self, origin: bytes, zone: Zone | None) -> None:
        self.handler.replace(origin, zone)
        self._tell()

    def changed(self, origin: bytes) -> None:
        self.handler.changed(origin)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Looked at after each change of a zone."""
        with trio.fail_after(BOUND):
            while not is_so():
                await self._changed.wait()

    def answer(self, name: str, rdtype: str = "A") -> list[str]:
        reply = ask(self.handler, dns.message.make_query(f"{name}.{ZONE}".removeprefix("."), rdtype))
        return texts(reply.answer) if reply.rcode() == 0 else [str(reply.rcode())]

    def is_there(self, name: str, address: str) -> bool:
        return any(line.endswith(f" A {address}") for line in self.answer(name))

    def is_gone(self, name: str) -> bool:
        return self.answer(name) == ["3"]


@asynccontextmanager
async def following(folder: Path, **options: Any) -> AsyncIterator[Served]:
    served = Served(prepared(folder, **options))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.follower.run, served)
        yield served
        nursery.cancel_scope.cancel()


def enable_users(etcd: EtcdServer) -> None:
    etcd.call("auth/user/add", {"name": "root", "password": "root"})
    etcd.call("auth/user/grant", {"user": "root", "role": "root"})
    etcd.call("auth/enable", {})


async def call(function: Callable[..., Any], *args: Any) -> Any:
    return await trio.to_thread.run_sync(function, *args)


async def test_what_is_there_and_what_comes(tmp_path: Path, etcd: EtcdServer) -> None:
    etcd.put({f"{KEY}/web/x1": {"host": "192.0.2.1"}, f"{KEY}/web/x2": {"host": "192.0.2.2"}, "test/other/x": "{}"})
    etcd.put({f"{KEY}/web": {"host": "192.0.2.9"}}, prefix="/skydns2")
    async with following(tmp_path, endpoints=(etcd.url,)) as served:
        assert served.answer("web") == ["2"]  # nothing is known yet: SERVFAIL
        await served.until(lambda: served.is_there("web", "192.0.2.2"))
        assert len(served.answer("web")) == 2
        assert served.answer("", "SOA")[0].split()[5] == str(served.follower.revision)
        await call(etcd.put, {f"{KEY}/web/x3": {"host": "192.0.2.3", "port": 80}})
        await served.until(lambda: served.is_there("web", "192.0.2.3"))
        await call(etcd.delete, f"{KEY}/web/x1", f"{KEY}/web/x2")
        await served.until(lambda: not served.is_there("web", "192.0.2.1"))
        assert served.answer("web", "SRV") == ["web.cluster.test. 300 SRV 10 100 80 x3.web.cluster.test."]
        await call(etcd.delete, f"{KEY}/web/x3")
        await served.until(lambda: served.is_gone("web"))
        counts = served.handler.counts()
        assert (counts["etcd-listed"], counts["etcd-changes"]) == (1, 3)


async def test_malformed_values_are_named_and_as_if_they_were_not_there(
    tmp_path: Path, etcd: EtcdServer, caplog: pytest.LogCaptureFixture
) -> None:
    etcd.put({f"{KEY}/a": {"host": "192.0.2.1"}, f"{KEY}/b": "no JSON", f"{KEY}/c//d": {"host": "192.0.2.1"}})
    async with following(tmp_path, endpoints=(etcd.url,)) as served:
        await served.until(lambda: served.is_there("a", "192.0.2.1"))
        assert served.is_gone("b")
        assert f"/skydns/{KEY}/b: no JSON" in caplog.text
        assert f"/skydns/{KEY}/c//d: an empty label" in caplog.text
        await call(etcd.put, {f"{KEY}/a": '{"host": 7}'})
        await served.until(lambda: served.is_gone("a"))
        assert f"/skydns/{KEY}/a: host is no text" in caplog.text
        await call(etcd.put, {f"{KEY}/b": {"host": "192.0.2.2"}})
        await served.until(lambda: served.is_there("b", "192.0.2.2"))
        assert served.handler.counts()["etcd-malformed"] == 3


async def test_ten_thousand_keys(tmp_path: Path, etcd: EtcdServer) -> None:
    """Listed in pages, then a fifth of them changed; at the end it is the zone that is made of them anew."""

    def values(octet: int, count: int) -> dict[str, Any]:
        return {
            f"{KEY}/rack{number % 100}/host{number}": {"host": f"10.{octet}.{number >> 8}.{number & 255}"}
            for number in range(count)
        }

    etcd.put(values(1, 10_000))
    async with following(tmp_path, endpoints=(etcd.url,)) as served:
        await served.until(lambda: served.is_there("host9999.rack99", "10.1.39.15"))
        (zone,) = served.follower.served().values()
        assert zone is not None
        assert len(zone.nodes) == 10_000 + 100 + 1
        await call(etcd.put, values(2, 2_000))
        await served.until(lambda: served.is_there("host1999.rack99", "10.2.7.207"))
        (zone,) = served.follower.served().values()
        assert zone is not None
        assert contents(zone) == contents(served.follower._state.services.zone_of(zone.origin, zone.serial))


async def test_compacted_while_it_was_away(tmp_path: Path, etcd: EtcdServer) -> None:
    """What came and went meanwhile is not told any more: all is listed again."""
    etcd.put({f"{KEY}/old": {"host": "192.0.2.1"}, f"{KEY}/stays": {"host": "192.0.2.2"}})
    first = prepared(tmp_path, endpoints=(etcd.url,))
    served = Served(first)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.follower.run, served)
        await served.until(lambda: served.is_there("old", "192.0.2.1"))
        nursery.cancel_scope.cancel()
    etcd.put({f"{KEY}/new": {"host": "192.0.2.3"}})
    etcd.compact(etcd.delete(f"{KEY}/old"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.follower.run, served)
        await served.until(lambda: served.is_there("new", "192.0.2.3"))
        assert served.is_gone("old")
        assert served.is_there("stays", "192.0.2.2")
        nursery.cancel_scope.cancel()
    counts = first.counts()
    assert (counts["etcd-listed"], counts["etcd-compacted"]) == (2, 1)


async def test_restarted(tmp_path: Path, etcd: EtcdServer, caplog: pytest.LogCaptureFixture) -> None:
    """Its last answers are served meanwhile, and the watch goes on where it ended."""
    caplog.set_level(logging.INFO)
    etcd.put({f"{KEY}/a": {"host": "192.0.2.1"}})
    async with following(tmp_path, endpoints=(etcd.url,)) as served:
        await served.until(lambda: served.is_there("a", "192.0.2.1"))
        await call(etcd.stop)
        assert served.is_there("a", "192.0.2.1")
        await call(etcd.start)
        await call(etcd.put, {f"{KEY}/b": {"host": "192.0.2.2"}})
        await served.until(lambda: served.is_there("b", "192.0.2.2"))
        counts = served.handler.counts()
        assert counts["etcd-listed"] == 1
        assert counts["etcd-failures"] >= 1
    assert "an endpoint of etcd fails" in caplog.text
    assert "etcd answers again" in caplog.text


async def test_another_cluster_in_its_place(tmp_path: Path, etcd: EtcdServer) -> None:
    """As after a disaster: its revisions begin anew, so that a watch from the old one would say nothing, for long."""
    etcd.put({f"{KEY}/a{number}": {"host": "192.0.2.1"} for number in range(300)})
    etcd.put({f"{KEY}/a": {"host": "192.0.2.1"}})
    async with following(tmp_path, endpoints=(etcd.url,)) as served:
        await served.until(lambda: served.is_there("a", "192.0.2.1"))
        await call(etcd.stop)
        shutil.rmtree(etcd.folder / "data")
        await call(etcd.start)
        await call(etcd.put, {f"{KEY}/b": {"host": "192.0.2.2"}})
        await served.until(lambda: served.is_there("b", "192.0.2.2"))
        assert served.is_gone("a")


async def test_endpoints_are_tried_in_order(tmp_path: Path, etcd: EtcdServer) -> None:
    etcd.put({f"{KEY}/a": {"host": "192.0.2.1"}})
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    async with following(tmp_path, endpoints=(nobody, etcd.url)) as served:
        await served.until(lambda: served.is_there("a", "192.0.2.1"))
        assert served.handler.counts()["etcd-failures"] == 1


async def test_one_that_says_nothing_is_left(tmp_path: Path, etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch would never tell: the question beside it does."""
    monkeypatch.setattr(follower_module, "PROBE", 0.2)
    etcd.put({f"{KEY}/a": {"host": "192.0.2.1"}})
    with running(tmp_path / "other") as other:
        other.put({f"{KEY}/a": {"host": "192.0.2.2"}})
        async with following(tmp_path, endpoints=(etcd.url, other.url)) as served:
            await served.until(lambda: served.is_there("a", "192.0.2.1"))
            etcd.freeze()
            await served.until(lambda: served.is_there("a", "192.0.2.2"))
            etcd.thaw()


async def test_away_for_too_long(tmp_path: Path, etcd: EtcdServer, caplog: pytest.LogCaptureFixture) -> None:
    etcd.put({f"{KEY}/a": {"host": "192.0.2.1"}})
    async with following(tmp_path, endpoints=(etcd.url,), stale=2.0) as served:
        await served.until(lambda: served.is_there("a", "192.0.2.1"))
        await call(etcd.stop)
        await served.until(lambda: served.answer("a") == ["2"])
        assert "etcd is away for too long" in caplog.text
        await call(etcd.start)
        await served.until(lambda: served.is_there("a", "192.0.2.1"))


async def test_a_reload_goes_on_with_what_is_known(tmp_path: Path, etcd: EtcdServer) -> None:
    etcd.put({f"{KEY}/a": {"host": "192.0.2.1"}})
    async with following(tmp_path, endpoints=(etcd.url,)) as before:
        await before.until(lambda: before.is_there("a", "192.0.2.1"))
        after = Served(prepared(tmp_path, endpoints=(etcd.url,)))
        assert after.answer("a") == ["2"]
        after.handler.succeed(before.handler)
        assert after.is_there("a", "192.0.2.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(after.follower.run, after)
            await call(etcd.put, {f"{KEY}/b": {"host": "192.0.2.2"}})
            await after.until(lambda: after.is_there("b", "192.0.2.2"))
            nursery.cancel_scope.cancel()
        assert after.handler.counts().get("etcd-listed", 0) == 0


async def test_a_reload_in_the_middle_of_a_change(
    tmp_path: Path, etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the one before has taken in and not yet served is served by the one after."""
    begun, go_on = threading.Event(), threading.Event()
    zone_of = Services.zone_of

    def slow(self: Services, origin: bytes, serial: int) -> Zone:
        begun.set()
        assert go_on.wait(BOUND)
        return zone_of(self, origin, serial)

    etcd.put({f"{KEY}/a": {"host": "192.0.2.1"}})
    async with trio.open_nursery() as nursery:
        before = Served(prepared(tmp_path, endpoints=(etcd.url,)))
        nursery.start_soon(before.follower.run, before)
        await before.until(lambda: before.is_there("a", "192.0.2.1"))
        nursery.cancel_scope.cancel()
    etcd.compact(etcd.put({f"{KEY}/b{number}": {"host": "192.0.2.2"} for number in range(2 * follower_module.LARGE)}))
    monkeypatch.setattr(Services, "zone_of", slow)
    after = Served(prepared(tmp_path, endpoints=(etcd.url,)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(before.follower.run, before)
        await call(begun.wait, BOUND)
        after.handler.succeed(before.handler)
        assert after.is_gone("b0")
        nursery.cancel_scope.cancel()
        go_on.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(after.follower.run, after)
        await after.until(lambda: after.is_there("b999", "192.0.2.2"))
        assert after.is_there("a", "192.0.2.1")
        await call(etcd.put, {f"{KEY}/c": {"host": "192.0.2.3"}})
        await after.until(lambda: after.is_there("c", "192.0.2.3"))
        nursery.cancel_scope.cancel()


async def test_tls_with_certificates_of_both_sides(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("etcd", common_name="etcd", hosts=("127.0.0.1", "localhost"))
    authority.issue("named")
    authority.issue("client", common_name=None)
    tls = ["--cert-file", str(certificate), "--key-file", str(key), "--client-cert-auth"]
    tls += ["--trusted-ca-file", str(authority.file)]
    ours: dict[str, Any] = {"ca": Path("ca.pem"), "certificate": Path("client.pem"), "key": Path("client.key")}
    verify = ssl.create_default_context(cafile=str(authority.file))
    verify.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
    with running(tmp_path / "etcd", tls=tls, verify=verify) as etcd:
        etcd.put({f"{KEY}/a": {"host": "192.0.2.1"}})
        async with following(tmp_path, endpoints=(etcd.url,), **ours) as served:
            await served.until(lambda: served.is_there("a", "192.0.2.1"))
        # An authority that we don't know; and who shows no certificate, to whom etcd says nothing.
        for lacking, reason in (({}, "certificate verify failed"), ({"ca": Path("ca.pem")}, "")):
            served = Served(prepared(tmp_path, endpoints=(etcd.url,), **lacking))
            failure = await served.follower._follow(etcd.url, served)
            assert failure is not None
            assert reason in str(failure)
        # A common name is refused where there are users, in no JSON.
        enable_users(etcd)
        ours |= {"user": "root", "password": Secret("root")}
        named = {"certificate": Path("named.pem"), "key": Path("named.key")}
        served = Served(prepared(tmp_path, endpoints=(etcd.url,), **ours | named))
        failure = await served.follower._follow(etcd.url, served)
        assert str(failure).startswith("HTTP status 400: CommonName of client")
        async with following(tmp_path, endpoints=(etcd.url,), **ours) as served:
            await served.until(lambda: served.is_there("a", "192.0.2.1"))


async def test_users(tmp_path: Path, etcd: EtcdServer) -> None:
    etcd.put({f"{KEY}/a": {"host": "192.0.2.1"}})
    secret = "once more with feeling"  # noqa: S105 - of the test
    etcd.call("auth/role/add", {"name": "dns"})
    permission = {"permType": "READ", "key": "L3NreWRucy8=", "range_end": "L3NreWRuczA="}  # /skydns/ to /skydns0
    etcd.call("auth/role/grant", {"name": "dns", "perm": permission})
    etcd.call("auth/user/add", {"name": "dns", "password": secret})
    etcd.call("auth/user/grant", {"user": "dns", "role": "dns"})
    enable_users(etcd)
    etcd.token = str(etcd.call("auth/authenticate", {"name": "root", "password": "root"})["token"])
    async with following(tmp_path, endpoints=(etcd.url,), user="dns", password=Secret(secret)) as served:
        await served.until(lambda: served.is_there("a", "192.0.2.1"))
        await call(etcd.put, {f"{KEY}/b": {"host": "192.0.2.2"}})
        await served.until(lambda: served.is_there("b", "192.0.2.2"))
    wrong = {"user": "dns", "password": Secret("wrong")}
    for user, reason in (({}, "user name is empty"), (wrong, "authentication failed")):
        served = Served(prepared(tmp_path, endpoints=(etcd.url,), **user))
        failure = await served.follower._follow(etcd.url, served)
        assert reason in str(failure)
        assert "wrong" not in str(failure)


async def test_a_token_that_is_too_old_is_renewed(tmp_path: Path) -> None:
    with running(tmp_path / "etcd", tls=()) as etcd:
        enable_users(etcd)
        async with EtcdClient(etcd.url, user="root", password="root") as client:  # noqa: S106 - of the test
            await client.authenticate()
            client._http.headers["Authorization"] = "forgotten.1"
            assert (await client.head(b"/skydns/")).revision >= 1


def test_mistakes_of_the_configuration(tmp_path: Path) -> None:
    Authority(tmp_path).issue("client")
    (tmp_path / "a.zone").write_text("@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\n")
    (tmp_path / "empty.pem").write_text("")
    etcd = Etcd(
        zones=("a.test", "b..test", "a." * 125),
        ca=Path("empty.pem"),
        certificate=Path("client.pem"),
        key=Path("missing.key"),
    )
    with pytest.raises(ConfigErrors) as caught:
        Dns(zones={"a.test": Path("a.zone")}, etcd=etcd).prepare(Context("dns", tmp_path))
    told = "\n".join(str(error) for error in caught.value.errors)
    assert "etcd.zones[0]: this zone is also in zones or secondary" in told
    assert "etcd.zones[1]: expected a domain name" in told
    assert "etcd.zones[2]: too long" in told
    assert "empty.pem: etcd.ca: expected a certificate" in told
    for options, message in (
        ({"endpoints": ("127.0.0.1:2379",)}, "endpoints: expected a URL"),
        ({"endpoints": ("http://:c2VjcmV0@127.0.0.1:2379",)}, "endpoints: expected a URL"),
        ({"endpoints": ()}, "endpoints: expected at least one"),
        ({"path": "skydns"}, "path: expected a path"),
        ({"stale": 0.0}, "stale: expected 1 to 31536000"),
        ({"user": "dns"}, "user: not without password"),
        ({"key": Path("x")}, "key: not without certificate"),
    ):
        with pytest.raises(ValueError, match=message):
            Etcd(zones=("a.test",), **options)  # type: ignore[arg-type]  # of several types
    with pytest.raises(ConfigErrors, match="expected at least one zone"):
        Dns(etcd=Etcd(zones=())).prepare(Context("dns", tmp_path))

"""What etcd said last, over a restart: written now and then, whole or not at all, and served until it is too old."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import dns.message
import pytest
import trio
from responder_plugins.dns import Dns, Etcd
from responder_plugins.dns.etcd import last_known
from responder_plugins.dns.etcd.client import EtcdError
from responder_plugins.dns.etcd.last_known import LastKnown, LastKnownFile
from responder_plugins.dns.etcd.services import Services
from responder_plugins.dns.etcd.skydns import KeyedService, read_value
from responder_plugins.dns.handler import DnsHandler
from trio.testing import MockClock

from responder import Context, FileLock
from responder.testing import wall_clock
from tests.plugins.dns.etcd.server import running
from tests.plugins.dns.etcd.test_age import Kept, told
from tests.plugins.dns.etcd.test_follower import KEY, Served, call, follower_of
from tests.plugins.dns.etcd.test_skydns import wire
from tests.plugins.dns.support import ask, texts

PLACE: last_known.Place = {
    "path": "/skydns",
    "endpoints": ["http://127.0.0.1:2379"],
    "zones": [wire("cluster.test").hex()],
}
SERVICES = {
    wire("a.cluster.test"): read_value(b'{"host": "192.0.2.1"}'),
    wire("b.cluster.test"): read_value(b'{"host": "2001:db8::1", "port": 80, "weight": 5, "priority": 7, "ttl": 9}'),
    wire("c.cluster.test"): read_value(b'{"host": "mail.example.test", "mail": true, "targetstrip": 1, "group": "g"}'),
    wire("d.cluster.test"): read_value('{"text": "zwölf\\n\\u0000", "port": -1}'.encode()),
}
NOW = 1_800_000_000.0


def file_in(folder: Path, place: last_known.Place = PLACE) -> LastKnownFile:
    return LastKnownFile(folder, place, "dns")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert file_in(tmp_path).read() is None
    known = LastKnown(7, SERVICES, NOW)
    file_in(tmp_path).write(known)
    assert file_in(tmp_path).read() == known
    for other in ({**PLACE, "path": "/other"}, {**PLACE, "endpoints": []}, {**PLACE, "zones": []}):
        assert file_in(tmp_path, other).read() is None


def test_a_damaged_file_is_as_if_it_were_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file_in(tmp_path).write(LastKnown(7, SERVICES, NOW))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        for damaged in (whole[:at], whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :]):
            path.write_bytes(damaged)
            caplog.clear()
            assert file_in(tmp_path).read() is None
            assert "what etcd said last is damaged" in caplog.text
    path.unlink()
    path.mkdir()
    assert file_in(tmp_path).read() is None
    assert "what etcd said last can't be read" in caplog.text


def test_one_that_would_be_too_large_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = LastKnown(7, SERVICES, NOW)
    file_in(tmp_path).write(known)
    monkeypatch.setattr(last_known, "LARGEST", 100)
    with pytest.raises(ValueError, match="of 100 that it may have"):
        file_in(tmp_path).write(LastKnown(8, SERVICES, NOW))
    assert file_in(tmp_path).read() == known


@attrs.define
class Followed:
    services: Services
    turn: trio.Lock
    cluster: str = "one"
    revision: int = 0
    heard: float | None = None

    @classmethod
    def of(cls, services: dict[bytes, KeyedService]) -> Followed:
        found = cls(Services([wire("cluster.test")]), trio.Lock())
        for name, service in services.items():
            found.services.put(name, service)
        return found


@asynccontextmanager
async def kept(folder: Path, followed: Followed) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file_in(folder).keep, followed)
        yield
        nursery.cancel_scope.cancel()


def heard_in(folder: Path) -> float:
    found = file_in(folder).read()
    assert found is not None
    assert (found.revision, found.services) == (7, SERVICES)
    return found.heard


@pytest.mark.usefixtures("no_threads")
async def test_it_is_written_as_it_changes(autojump_clock: MockClock, tmp_path: Path) -> None:
    followed = Followed.of(SERVICES)
    with wall_clock(NOW):
        async with kept(tmp_path, followed):
            await trio.sleep(10)
            assert file_in(tmp_path).read() is None  # nothing was said yet
            followed.revision, followed.heard = 7, trio.current_time()
            await trio.sleep(5)
            assert heard_in(tmp_path) == pytest.approx(NOW + 10)
            followed.heard = trio.current_time()
            await trio.sleep(5)
            assert heard_in(tmp_path) == pytest.approx(NOW + 15)
            followed.services.delete(wire("a.cluster.test"))
            followed.revision = 8
        found = file_in(tmp_path).read()  # at the end, too
        assert found is not None
        assert (found.revision, wire("a.cluster.test") in found.services) == (8, False)


@pytest.mark.usefixtures("few_threads")
async def test_it_waits_for_a_thread(autojump_clock: MockClock, tmp_path: Path) -> None:
    followed = Followed.of(SERVICES)
    followed.revision, followed.heard = 7, 0.0
    with wall_clock(NOW):
        async with kept(tmp_path, followed):
            await trio.sleep(5)
            assert heard_in(tmp_path) == NOW


@pytest.mark.usefixtures("no_thread")
async def test_it_does_not_wait_for_ever_at_the_end(autojump_clock: MockClock, tmp_path: Path) -> None:
    followed = Followed.of(SERVICES)
    followed.revision, followed.heard = 7, 0.0
    async with kept(tmp_path, followed):
        await trio.sleep(5)
    assert trio.current_time() == 5 + last_known.END


@pytest.mark.usefixtures("no_threads")
async def test_one_process_writes(autojump_clock: MockClock, tmp_path: Path) -> None:
    followed = Followed.of(SERVICES)
    followed.revision, followed.heard = 7, 0.0
    with wall_clock(NOW):
        with FileLock(tmp_path / "lead"):
            async with kept(tmp_path, followed):
                await trio.sleep(10)
            assert file_in(tmp_path).read() is None
        async with kept(tmp_path, followed):
            await trio.sleep(10)
            assert file_in(tmp_path).read() is not None


@pytest.mark.usefixtures("no_threads")
async def test_what_can_not_be_written_is_told_and_tried_again(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    followed = Followed.of(SERVICES)
    followed.revision, followed.heard = 7, 0.0
    with wall_clock(NOW):
        (tmp_path / "last-known").mkdir()
        async with kept(tmp_path, followed):
            await trio.sleep(10)
            assert caplog.text.count("what etcd says can't be kept") == 1
            (tmp_path / "last-known").rmdir()
            await trio.sleep(10)
            assert file_in(tmp_path).read() is not None


# A restart

ETCD = Etcd(zones=("cluster.test",), stale=1000.0)


def started(folder: Path, etcd: Etcd = ETCD) -> DnsHandler:
    handler = Dns(etcd=etcd).prepare(Context("dns", folder, folder / "state"))
    assert isinstance(handler, DnsHandler)
    return handler


def answer(handler: DnsHandler, name: str) -> list[str]:
    reply = ask(handler, dns.message.make_query(name, "A"))
    return texts(reply.answer) if reply.rcode() == 0 else [str(reply.rcode())]


@pytest.mark.usefixtures("no_threads")
async def test_it_is_served_at_once_after_a_restart_until_it_is_too_old(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with wall_clock(NOW):
        assert answer(started(tmp_path), "a.cluster.test") == ["2"]
        folder = tmp_path / "state" / "etcd"
        folder.mkdir(parents=True)
        file_in(folder).write(LastKnown(7, SERVICES, NOW - 400))
        handler = started(tmp_path)
        assert answer(handler, "a.cluster.test") == ["a.cluster.test. 300 A 192.0.2.1"]
        assert answer(handler, "nowhere.cluster.test") == ["3"]
        follower = follower_of(handler)
        follower._note_failure("http://127.0.0.1:2379", EtcdError("no answer"))
        zones = Kept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower._watch_age, zones)
            await trio.sleep(590)
            assert told(caplog.text) == [410, 600]  # of the time before the restart, too
            assert any(follower.served().values())
            await trio.sleep(30)
            assert not any(follower.served().values())
            nursery.cancel_scope.cancel()
        assert answer(started(tmp_path), "a.cluster.test") == ["2"]
        assert "what etcd said last is too old to be served" in caplog.text


@pytest.mark.clients("etcd")
async def test_what_came_meanwhile_is_served_once_etcd_is_back(tmp_path: Path) -> None:
    @asynccontextmanager
    async def serving() -> AsyncIterator[Served]:
        served = Served(started(tmp_path, attrs.evolve(ETCD, endpoints=(etcd.url,))))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.follower.run, served)
            yield served
            nursery.cancel_scope.cancel()

    with running(tmp_path) as etcd:
        etcd.put({f"{KEY}/stays": {"host": "192.0.2.1"}, f"{KEY}/goes": {"host": "192.0.2.2"}})
        async with serving() as served:
            await served.until(lambda: served.is_there("goes", "192.0.2.2"))
        await call(etcd.stop)
        served = Served(started(tmp_path, attrs.evolve(ETCD, endpoints=(etcd.url,))))
        assert served.is_there("goes", "192.0.2.2")
        await call(etcd.start)
        etcd.compact(etcd.delete(f"{KEY}/goes"))
        async with serving() as served:
            assert served.is_there("goes", "192.0.2.2")
            await served.until(lambda: served.is_gone("goes"))
            assert served.is_there("stays", "192.0.2.1")
            assert served.handler.counts()["etcd-listed"] == 1


def test_nothing_is_kept_without_a_folder(tmp_path: Path) -> None:
    handler = Dns(etcd=ETCD).prepare(Context("dns", tmp_path))
    assert isinstance(handler, DnsHandler)
    assert answer(handler, "a.cluster.test") == ["2"]
    assert list(tmp_path.iterdir()) == []

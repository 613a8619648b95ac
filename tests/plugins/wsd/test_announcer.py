"""Hello and Bye on each link, and what is kept over restarts; on the fake clock."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from responder_plugins.wsd import Wsd
from responder_plugins.wsd.announcer import APP_MAX_DELAY, MAX_DELAY, MIN_DELAY, repetitions
from trio.testing import MockClock

from responder.testing import FakeClient, FakeHost, FakeNetwork, Heard

from .support import GROUP4, GROUP6, LAB, NEW, OLD, STARTED, UUID, Said, probe


@attrs.frozen
class Lab:
    """A host with links, and what is heard on each: everything that was sent to the groups."""

    network: FakeNetwork
    host: FakeHost
    ears: dict[int, FakeClient] = attrs.field(factory=dict, init=False)

    def link(self, number: int) -> None:
        wire = self.network.link(f"link{number}")
        there = self.network.host(f"there{number}")
        own = there.attach(wire, f"10.7{number}.0.9/24", "fe80::9/64")
        ear = self.ears[number] = there.client(None, 3702)
        for group in (GROUP4, GROUP6):
            ear.join(group, own)
        self.host.attach(wire, f"10.7{number}.0.1/24", "fe80::1/64")

    def heard(self, number: int) -> list[tuple[Heard, Said]]:
        return [(each, Said.of(each.payload)) for each in self.ears[number].heard()]


@asynccontextmanager
async def lab(state: Path, plugin: Wsd = LAB) -> AsyncIterator[Lab]:
    network = FakeNetwork()
    found = Lab(network, network.host("server"))
    found.link(1)
    found.link(2)
    async with found.host.serve(plugin, state=state):
        yield found


WAYS = {(names.wsd, group) for names in (OLD, NEW) for group in (GROUP4, GROUP6)}


async def test_hello_and_bye_on_each_link(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with lab(tmp_path) as at:
        await trio.sleep(STARTED)
        hellos = {number: at.heard(number) for number in (1, 2)}
        stopped = trio.current_time()
    assert trio.current_time() - stopped < 2, "within the grace period"
    for number, heard in hellos.items():
        assert {said.kind for _, said in heard} == {"Hello"}
        assert Counter((said.names.wsd, str(each.destination)) for each, said in heard) == dict.fromkeys(WAYS, 2)
        for each, said in heard:
            address = f"10.7{number}.0.1" if each.source.address.version == 4 else "[fe80::1]"
            assert str(each.source.address) == address.strip("[]")
            assert said.text("wsd:XAddrs") == f"http://{address}:5357/{UUID}"
            assert said.text("wsa:To") == said.names.to
            assert said.text("wsa:Address") == f"urn:uuid:{UUID}"
            assert each.time <= APP_MAX_DELAY + MAX_DELAY
            assert each.hop_limit == 1
        by_id: dict[str, list[Heard]] = {}
        for each, said in heard:
            by_id.setdefault(said.text("wsa:MessageID"), []).append(each)
        assert {len(same) for same in by_id.values()} == {2}, "repeated with the same ID"
        assert all(MIN_DELAY <= second.time - first.time <= MAX_DELAY for first, second in by_id.values())
        byes = at.heard(number)
        assert {said.kind for _, said in byes} == {"Bye"}
        assert Counter((said.names.wsd, str(each.destination)) for each, said in byes) == dict.fromkeys(WAYS, 2)
        assert {said.text("wsa:Address") for _, said in byes} == {f"urn:uuid:{UUID}"}
    numbers = [said.sequence for heard in hellos.values() for _, said in heard]
    assert len({number for _, number in numbers}) == len(numbers) / 2
    assert len({instance for instance, _ in numbers}) == 1


async def test_a_link_that_comes_changes_and_goes(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with lab(tmp_path) as at:
        await trio.sleep(STARTED)
        at.link(3)
        await trio.sleep(STARTED)
        assert {said.kind for _, said in at.heard(3)} == {"Hello"}
        (interface,) = [each for each in at.host.snapshots() if each.name == "link3"]
        fake = at.host.interface(interface.index)
        assert fake is not None
        at.heard(1)
        fake.remove("10.73.0.1")
        fake.add("10.73.0.5/24")
        await trio.sleep(STARTED)
        again = at.heard(3)
        assert {said.text("wsd:XAddrs") for _, said in again} == {f"http://10.73.0.5:5357/{UUID}"}
        assert at.heard(1) == [], "the other links have nothing new"
        fake.down()
        await trio.sleep(STARTED)
    assert at.heard(3) == [], "nobody hears Bye there"
    assert {said.kind for _, said in at.heard(1)} == {"Hello", "Bye"} - {"Hello"}


async def test_nothing_is_answered_once_bye_is_said(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with lab(tmp_path) as at:
        await trio.sleep(STARTED)
        await at.ears[1].send(probe(), GROUP4, 3702)
        await trio.sleep(0.001)
        at.heard(1)
    assert {said.kind for _, said in at.heard(1)} == {"Bye"}


async def test_the_instance_id_grows_with_each_start(autojump_clock: MockClock, tmp_path: Path) -> None:
    instances = []
    for _ in range(3):
        async with lab(tmp_path) as at:
            await trio.sleep(STARTED)
            instances.append({said.sequence[0] for _, said in at.heard(1)})
    assert all(len(each) == 1 for each in instances)
    assert instances == sorted(instances, key=min)
    assert len({min(each) for each in instances}) == 3


async def first_hello(state: Path, plugin: Wsd) -> tuple[str, str]:
    """The endpoint and its metadata's version."""
    async with lab(state, plugin) as at:
        await trio.sleep(STARTED)
        _, said = at.heard(1)[0]
        return said.text("wsa:Address"), said.text("wsd:MetadataVersion")


class TestKept:
    async def test_the_uuid_is_made_once(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        first, second = [await first_hello(tmp_path / "a", Wsd("lab")) for _ in range(2)]
        assert first == second
        assert (await first_hello(tmp_path / "b", Wsd("lab")))[0] != first[0]

    async def test_the_metadata_version_grows_with_what_it_says(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        plugins = [Wsd("lab"), Wsd("lab"), Wsd("other"), Wsd("other", "OFFICE"), Wsd("lab")]
        assert [(await first_hello(tmp_path, plugin))[1] for plugin in plugins] == ["1", "1", "2", "3", "4"]

    @pytest.mark.parametrize("content", ["", "x", "[]", "{}", '{"uuid": 1}', "[" * 100_000, '{"version": 1e999}'])
    async def test_what_was_kept_is_lost(self, autojump_clock: MockClock, tmp_path: Path, content: str) -> None:
        await first_hello(tmp_path, Wsd("lab"))
        (file,) = tmp_path.rglob("endpoint.json")
        assert json.loads(file.read_text())["version"] == 1
        file.write_text(content)
        endpoint, version = await first_hello(tmp_path, Wsd("lab"))
        assert (len(endpoint), version) == (len(f"urn:uuid:{UUID}"), "1")

    async def test_where_nothing_can_be_kept_it_is_made_of_the_name(
        self, autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("")
        first, second = [await first_hello(blocked, Wsd("lab")) for _ in range(2)]
        assert first == second
        assert "UUID can't be kept" in caplog.text


def test_delays_double_up_to_the_last() -> None:
    assert repetitions(4, lambda _least, most: most) == pytest.approx([0.25, 0.75, 1.25, 1.75])
    assert repetitions(3, lambda least, _most: least) == pytest.approx([0.05, 0.15, 0.35])

"""Zones that are signed here over starts, reloads and failures, by one process and beside others."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from responder_plugins.dns import Dns, Sign
from responder_plugins.dns.keys import maintenance, signed_copy, timeline
from responder_plugins.dns.keys.key import Key
from responder_plugins.dns.message import wire
from responder_plugins.dns.zone.tables import Zone
from trio.testing import MockClock

from responder import ConfigErrors, Context
from tests.plugins.dns.keys.process import TEXT, Running, started
from tests.plugins.dns.keys.support import KEY


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> trio.MemoryReceiveChannel[Zone]:
    """The zones that are kept in a state folder, each once it is."""
    given, taken = trio.open_memory_channel[Zone](100)

    def write(path: Path, zone: Zone) -> None:
        real(path, zone)
        trio.from_thread.run_sync(given.send_nowait, zone)

    real = signed_copy.write
    monkeypatch.setattr(signed_copy, "write", write)
    return taken


def files(folder: Path) -> set[str]:
    return {str(each.relative_to(folder)) for each in folder.rglob("*")}


async def test_preparing_writes_nothing_and_the_first_start_makes_keys(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    first = started(tmp_path)
    assert files(tmp_path) == {"zone"}
    assert first.served.chain is None
    async with first.running():
        zone = await first.zones.receive()
    assert (zone.serial, zone is first.served) == (8, True)
    assert zone.chain is not None
    assert "state/signed/zone-example.test.copy" in files(tmp_path)
    (name,) = tmp_path.glob("keys/*.private")
    before = files(tmp_path)
    again = started(tmp_path)
    assert files(tmp_path) == before
    assert (again.served.serial, again.served.nodes) == (8, zone.nodes)
    assert again.signing.signers[KEY].made == 0
    assert name in tmp_path.glob("keys/*")


async def test_a_file_that_changed_meanwhile_gets_the_next_serial(
    tmp_path: Path, autojump_clock: MockClock, written: trio.MemoryReceiveChannel[Zone]
) -> None:
    first = started(tmp_path)
    async with first.running():
        assert (await written.receive()).serial == 8
    for serial in (9, 10):  # the second start comes before the first one has kept anything
        second = started(tmp_path, TEXT + f"www{serial} A 192.0.2.80\n")
        assert second.served.serial == 9
        assert second.signing.signers[KEY].made == 4
    async with second.running():
        assert await written.receive() is second.served
    third = started(tmp_path)
    assert third.served.serial == 10


async def test_the_serial_goes_on_where_the_keys_are_lost(tmp_path: Path, autojump_clock: MockClock) -> None:
    first = started(tmp_path)
    async with first.running():
        await first.zones.receive()
    for key in tmp_path.glob("keys/K*"):
        key.unlink()
    second = started(tmp_path)
    assert second.served.chain is None
    async with second.running():
        assert (await second.zones.receive()).serial == 9


async def test_a_damaged_copy_is_told_and_made_anew(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    first = started(tmp_path)
    async with first.running():
        await first.zones.receive()
    copy = tmp_path / "state/signed/zone-example.test.copy"
    whole = copy.read_bytes()
    for size in range(0, len(whole), 97):
        copy.write_bytes(whole[:size] + bytes((whole[size] ^ 1,)) + whole[size + 1 :])
        second = started(tmp_path)
        assert second.served.chain is not None
        assert second.signing.signers[KEY].made == 6
    copy.write_bytes(whole[:-1])
    assert started(tmp_path).served.chain is not None
    assert "the copy of a signed zone is damaged" in caplog.text


async def test_a_key_that_comes_into_the_folder_is_noticed(tmp_path: Path, autojump_clock: MockClock) -> None:
    process = started(tmp_path)
    async with process.running():
        await process.zones.receive()
        signer = process.signing.signers[KEY]
        keys = signer.load_keys()

        def make(*, leads: bool, signs: bool, times: timeline.Times) -> Key:
            return signer.folder.new(13, leads=leads, signs=signs, times=times, taken=set())

        key = timeline.successor(keys, signer.policy, time.time(), make, leads=True, signs=True)
        signer.folder.save(key)
        zone = await process.zones.receive()
    found = zone.rrset(zone.origin, wire.DNSKEY)
    assert found is not None
    assert set(found.rdatas) == {keys[0].dnskey, key.dnskey}


async def test_a_file_that_changes_while_the_first_version_is_kept_gets_the_next_serial(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or two versions would have one number, and processes that follow keep what they have."""
    first = started(tmp_path, TEXT, {"watch": True})
    kept: list[tuple[int, bool]] = []

    def write(path: Path, zone: Zone) -> None:
        if not kept:
            (tmp_path / "zone").write_text(TEXT + "www A 192.0.2.80\n")
            trio.from_thread.run(first.handler.look)
        kept.append((zone.serial, b"\3www" + KEY in zone.nodes))
        real(path, zone)

    real = signed_copy.write
    monkeypatch.setattr(signed_copy, "write", write)
    async with first.running():
        zone = await first.zones.receive()
    assert kept == [(8, False), (9, True)]
    assert (zone.serial, zone is first.served) == (9, True)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no workers on Windows")
async def test_one_process_signs_and_others_follow(
    tmp_path: Path, autojump_clock: MockClock, written: trio.MemoryReceiveChannel[Zone]
) -> None:
    """Their signatures are the same; where the first ends, another one goes on."""
    one, other = started(tmp_path), started(tmp_path)
    async with one.running():
        signed = await one.zones.receive()
        async with other.running():
            assert (await other.zones.receive()).nodes == signed.nodes
    changed = TEXT + "www A 192.0.2.80\n"
    one, other = started(tmp_path, changed), started(tmp_path, None)
    assert one.served.serial == other.served.serial == 9
    assert one.served.nodes != other.served.nodes  # equivalent, for a moment
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        assert (await written.receive()).serial == 8
        assert await written.receive() is one.served
        nursery.start_soon(other.run)
        assert (await other.zones.receive()).nodes == one.served.nodes
        one.scope.cancel()
        signer = other.signing.signers[KEY]
        (key,) = signer.load_keys()
        signer.folder.save(key.with_times(SyncPublish=1))
        assert (await other.zones.receive()).rrset(KEY, wire.CDS) is not None
        other.scope.cancel()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no workers on Windows")
async def test_who_follows_waits_for_the_copy_of_an_edited_file(
    tmp_path: Path, autojump_clock: MockClock, written: trio.MemoryReceiveChannel[Zone]
) -> None:
    """However often it sees the file change, the serial number is the one of who signs.  Or it is the next to sign."""
    one, other = (started(tmp_path, TEXT, {"watch": True}) for _ in range(2))

    async def edit(number: int, *readers: Running) -> None:
        (tmp_path / "zone").write_text(TEXT + f"www{number} A 192.0.2.80\n")
        for each in readers:
            await each.handler.look()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await one.zones.receive()
        nursery.start_soon(other.run)
        await other.zones.receive()
        for number in (1, 2):
            await edit(number, other)
        assert other.served.serial == 8
        await edit(2, one)
        zone = await other.zones.receive()
        assert (zone.serial, zone.nodes) == (9, one.served.nodes)
        await edit(3, other)
        one.scope.cancel()
        zone = await other.zones.receive()
        assert (zone.serial, b"\4www3" + KEY in zone.nodes) == (10, True)
        while (await written.receive()).serial != 10:
            pass
        other.scope.cancel()


async def test_what_goes_wrong_is_told_and_tried_again(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, told = trio.open_memory_channel[str](100)
    monkeypatch.setattr(
        maintenance._log, "error", lambda event, **more: given.send_nowait(f"{event}: {more['reason']}")
    )
    process = started(tmp_path)
    async with process.running():
        await process.zones.receive()
        (private,) = tmp_path.glob("keys/*.private")
        text = private.read_text()
        private.unlink()
        assert (await told.receive()).startswith("a zone can't be signed: ")
        private.write_text(text.replace("SyncPublish: 2", "SyncPublish: 1"))  # a thousand years ago
        zone = await process.zones.receive()
    assert zone.rrset(zone.origin, wire.CDS) is not None


# What `check` tells


def refusal(folder: Path, text: str = TEXT, **policy: Any) -> str:
    with pytest.raises(ConfigErrors) as caught:
        started(folder, text, **policy)
    return str(caught.value)


def test_a_signed_file_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, TEXT + "@ DNSKEY 257 3 13 AAAA\n")
    assert (
        'zones."example.test": zone example.test. is not served: has DNSKEY records, and is to be signed here' in said
    )


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    assert "can't be read: Not a directory" in refusal(tmp_path)


async def test_keys_of_another_algorithm_are_told(tmp_path: Path, autojump_clock: MockClock) -> None:
    process = started(tmp_path)
    async with process.running():
        await process.zones.receive()
    said = refusal(tmp_path, algorithm="ED25519")
    assert 'sign."example.test".algorithm: ' in said
    assert "has keys of ECDSAP256SHA256, and the policy wants ED25519" in said


def test_a_zone_that_is_not_there_can_t_be_signed(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r'sign\."other\.test": there is no such zone in zones or secondary'):
        Dns(here=("a.test",), sign={"other.test": Sign(keys=tmp_path)}).prepare(Context("dns", tmp_path, tmp_path))


def test_without_a_folder_for_state_nothing_is_signed(tmp_path: Path) -> None:
    (tmp_path / "zone").write_text(TEXT)
    (tmp_path / "file").write_text("")
    plugin = Dns(zones={"example.test": Path("zone")}, sign={"example.test": Sign(keys=Path("keys"))})
    for state, reason in ((None, "there is no folder for it"), (tmp_path / "file/state", "is no folder")):
        with pytest.raises(ConfigErrors, match=f"the state of signed zones can't be kept: .*{reason}"):
            plugin.prepare(Context("dns", tmp_path, state))


def test_here_names_in_a_signed_zone_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "zone").write_text(TEXT)
    context = Context("dns", tmp_path, tmp_path / "state")
    Dns(
        zones={"example.test": Path("zone")},
        sign={"example.test": Sign(keys=Path("keys"))},
        here=("router.example.test", "router.lan"),
    ).prepare(context)
    (warning,) = context.warnings
    assert str(warning).startswith("here[0]: router.example.test is in a zone that is signed here")


def test_without_the_package_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("responder_plugins.dns.keys")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for name in [name for name in sys.modules if name.startswith("cryptography.")]:
        monkeypatch.setitem(sys.modules, name, None)
    assert "sign: needs the package cryptography: pip install 'responderd[dnssec]'" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"opt_out": True}, "only NSEC3 records can leave out delegations"),
        ({"signature_refresh": 14.0 * 86400}, "it leaves nothing of signature_lifetime"),
        ({"key_lifetime": 7200.0}, "key_lifetime: expected 0, or more than"),
        ({"dnskey_ttl": 0.0}, "dnskey_ttl: expected 1 to"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(policy: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sign(keys=Path("keys"), **policy)


def test_a_refresh_that_caches_outlive_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "zone").write_text(TEXT.replace("300", "7d"))
    context = Context("dns", tmp_path, tmp_path / "state")
    Dns(zones={"example.test": Path("zone")}, sign={"example.test": Sign(keys=Path("keys"))}).prepare(context)
    assert ["signature_refresh is not longer" in str(each) for each in context.warnings] == [True]

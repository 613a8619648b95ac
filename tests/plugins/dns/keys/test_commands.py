"""The commands `responderd dns keys` and `ds`: what they show and do, and what they refuse."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from responder_plugins.dns import Sign
from responder_plugins.dns.commands import dns
from responder_plugins.dns.keys.algorithms import SigningKey
from responder_plugins.dns.keys.key import Key
from responder_plugins.dns.keys.timeline import forgotten

from tests.plugins.dns.keys.support import DAY, HOUR, KEY, signer_of, zone_of

CONFIG = """
[plugins.dns]
port = 5300
zones = {{ "example.test" = "zone" }}

[plugins.dns.sign."example.test"]
keys = "keys"
{more}
"""
TEXT = "$TTL 300\n@ SOA ns h 7 2 3 4 60\n@ NS ns\nns A 192.0.2.53\n"


def run(folder: Path, *arguments: str, more: str = "") -> Result:
    """With what is shown to people on both outputs."""
    config = folder / "config.toml"
    config.write_text(CONFIG.format(more=more))
    return CliRunner().invoke(dns, [*arguments, "--config", str(config)])


def made(folder: Path, ago: float, **policy: object) -> list[int]:
    """The tags of keys that a daemon made so many seconds ago."""
    signer = signer_of(folder / "keys", **policy)
    signer.renew(zone_of(folder / "zone", TEXT), None, time.time() - ago)
    return [key.tag for key in signer.load_keys()]


def test_keys_that_are_not_there_yet(tmp_path: Path) -> None:
    done = run(tmp_path, "keys")
    assert (done.exit_code, "example.test. has no keys yet" in done.output) == (0, True)
    assert run(tmp_path, "keys", "--json").output == "[]\n"
    done = run(tmp_path, "ds", "example.test")
    assert (done.exit_code, "has no key for a DS record yet" in done.output) == (1, True)
    assert not (tmp_path / "keys").exists()


@pytest.mark.clients("dnssec-dsfromkey")
def test_the_ds_record_is_that_of_bind(tmp_path: Path) -> None:
    (tag,) = made(tmp_path, DAY)
    (file,) = (tmp_path / "keys").glob("*.key")
    theirs = subprocess.run(["dnssec-dsfromkey", "-2", file], check=True, capture_output=True, text=True).stdout
    ours = run(tmp_path, "ds", "Example.Test.").output
    assert ours.split() == ["example.test.", "86400", *theirs.split()[1:], ";", "ready"]
    assert f" DS {tag} 13 2 " in ours


def test_a_ds_record_that_comes_early_is_warned_of(tmp_path: Path) -> None:
    made(tmp_path, HOUR)
    done = run(tmp_path, "ds", "example.test")
    assert (done.exit_code, "; published, for the parent from 20" in done.output) == (0, True)
    assert "warning: " in done.output


def test_the_ds_record_of_each_key_with_its_state(tmp_path: Path) -> None:
    def states() -> list[tuple[int, str]]:
        done = run(tmp_path, "ds", "example.test")
        assert done.exit_code == 0
        assert "warning" not in done.output
        lines = [line.partition(" ; ") for line in done.output.splitlines()]
        return [(int(record.split()[4]), state.partition(" from ")[0]) for record, _, state in lines]

    def later(seconds: float) -> None:
        for key in folder.load():
            folder.save(key.with_times(**{name: time - int(seconds) for name, time in key.times.items()}))

    (old,) = made(tmp_path, 10 * DAY)
    folder = signer_of(tmp_path / "keys").folder
    assert states() == [(old, "ready")]
    run(tmp_path, "keys", "example.test", "--ds-seen", str(old))
    assert states() == [(old, "active")]
    run(tmp_path, "keys", "example.test", "--roll", "csk")
    (new,) = {key.tag for key in folder.load()} - {old}
    assert states() == [(old, "active"), (new, "published, for the parent")]
    later(DAY)
    assert states() == [(old, "active"), (new, "ready")]
    run(tmp_path, "keys", "example.test", "--ds-seen", str(new))
    assert states() == [(old, "retired"), (new, "active")]
    (key,) = (key for key in folder.load() if key.tag == old)
    folder.save(key.with_times(Delete=int(time.time()) - 1))
    assert states() == [(new, "active")]


@pytest.mark.parametrize(("ago", "is_there"), [(60, True), (90 * DAY - 60, True), (90 * DAY + 60, False)])
def test_a_removed_key_is_told_and_its_files_go_in_the_end(tmp_path: Path, ago: int, is_there: bool) -> None:
    (old,) = made(tmp_path, 200 * DAY)
    signer = signer_of(tmp_path / "keys")
    now = int(time.time())
    (key,) = signer.load_keys()
    signer.folder.save(key.with_times(Inactive=now - 120 * DAY, Delete=now - ago))
    signer.renew(zone_of(tmp_path / "zone", TEXT), None, now)
    assert bool([*(tmp_path / "keys").glob(f"*+{old:05}.*")]) == is_there
    assert len([*(tmp_path / "keys").glob("K*")]) == (6 if is_there else 3)
    (tag,) = {key.tag for key in signer.load_keys() if key.published(now)}
    assert tag != old
    shown = run(tmp_path, "keys").output
    assert ("removed 20" in shown and "its files are deleted 20" in shown) == is_there
    keys = {key["tag"]: key["state"] for key in json.loads(run(tmp_path, "keys", "--json").stdout)}
    assert keys == {tag: "active", **({old: "removed"} if is_there else {})}


def test_what_is_longer_in_caches_is_kept_longer() -> None:
    key = Key(KEY, 257, True, SigningKey(13, b"", 256, lambda _data: b"", None), {"Delete": 1000})  # type: ignore[arg-type]  # none is needed
    policy = Sign(keys=Path(), dnskey_ttl=DAY, propagation=100 * DAY)
    assert forgotten(key, policy) == 1000 + 101 * DAY
    assert forgotten(key.with_times(Delete=None), policy) is None


def test_a_rollover_by_the_operator(tmp_path: Path) -> None:
    (old,) = made(tmp_path, 10 * DAY)
    done = run(tmp_path, "keys", "example.test", "--roll", "csk")
    assert done.exit_code == 0
    keys = json.loads(run(tmp_path, "keys", "example.test", "--json").stdout)
    (new,) = [key["tag"] for key in keys if key["tag"] != old]
    assert {key["tag"]: (key["role"], key["state"]) for key in keys} == {
        old: ("CSK", "active"),
        new: ("CSK", "published"),
    }
    again = run(tmp_path, "keys", "example.test", "--roll", "csk")
    assert (again.exit_code, f"key {new} waits for the time when it signs" in again.output) == (1, True)
    signer = signer_of(tmp_path / "keys")
    zone = zone_of(tmp_path / "zone", TEXT)
    later = time.time() + 3 * HOUR
    zone = signer.renew(zone, None, later)
    assert f"waits for its DS record at the parent (--ds-seen {new})" not in run(tmp_path, "keys").output
    assert run(tmp_path, "keys", "example.test", "--ds-seen", str(new)).exit_code == 0
    at = {key.tag: key.times.get("DSPublish") for key in signer.load_keys()}
    assert at[old] is None
    assert at[new] is not None
    assert run(tmp_path, "keys", "example.test", "--ds-seen", str(new)).exit_code == 0
    assert {key.tag: key.times.get("DSPublish") for key in signer.load_keys()} == at
    end = later + 30 * DAY  # the old key's last signature is replaced, and in no cache any more
    while later < end:
        zone = signer.renew(zone, None, later)
        later = signer.next_time(zone, later)
    assert [key.tag for key in signer.load_keys() if key.published(later)] == [new]


def test_a_key_that_waits_to_be_published_is_named(tmp_path: Path) -> None:
    made(tmp_path, 10 * DAY)
    folder, later = signer_of(tmp_path / "keys").folder, int(time.time() + DAY)
    key = folder.new(13, leads=True, signs=True, times={"Publish": later, "Activate": later}, taken=set())
    folder.save(key)
    done = run(tmp_path, "keys", "example.test", "--roll", "csk")
    assert (done.exit_code, f"key {key.tag} waits for the time when it is published" in done.output) == (1, True)


def test_the_operator_is_asked_for_the_ds_record(tmp_path: Path) -> None:
    (tag,) = made(tmp_path, DAY)
    assert f"waits for its DS record at the parent (--ds-seen {tag})" in run(tmp_path, "keys").output


def test_a_ksk_and_a_zsk_roll_by_themselves(tmp_path: Path) -> None:
    made(tmp_path, 10 * DAY, csk=False)
    for role in ("zsk", "ksk"):
        assert run(tmp_path, "keys", "example.test", "--roll", role, more="csk = false").exit_code == 0
    done = run(tmp_path, "keys", "example.test", "--roll", "csk", more="csk = false")
    assert (done.exit_code, "the zone has a KSK and a ZSK" in done.output) == (2, True)
    keys = json.loads(run(tmp_path, "keys", "--json", more="csk = false").stdout)
    assert sorted(key["role"] for key in keys) == ["KSK", "KSK", "ZSK", "ZSK"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["keys", "--roll", "csk"], 2, "need a ZONE"),
        (["keys", "example.test", "--roll", "zsk"], 2, "the zone has a CSK"),
        (["keys", "example.test", "--ds-seen", "1"], 2, "no published key 1"),
        (["keys", "other.test"], 2, "other.test is not signed here"),
        (["ds", "a..b"], 2, "a label is empty"),
        (["keys", "example.test", "--roll", "csk"], 1, "there is no key to be exchanged"),
    ],
)
def test_what_can_t_be_is_refused(arguments: list[str], status: int, message: str, tmp_path: Path) -> None:
    done = run(tmp_path, *arguments)
    assert (done.exit_code, message in done.output) == (status, True)


def test_mistakes_of_the_configuration_and_of_keys_are_told(tmp_path: Path) -> None:
    done = run(tmp_path, "keys", more='denial = "nsec4"')
    assert (done.exit_code, 'plugins.dns.sign."example.test".denial' in done.output) == (2, True)
    (tmp_path / "keys").write_text("")
    done = run(tmp_path, "keys")
    assert (done.exit_code, 'sign."example.test".keys: can\'t be read: Not a directory' in done.output) == (2, True)
    (tmp_path / "keys").unlink()
    made(tmp_path, 0)
    next((tmp_path / "keys").glob("*.private")).write_text("")
    done = run(tmp_path, "keys")
    assert (done.exit_code, "is no private key" in done.output) == (2, True)

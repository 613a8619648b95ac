"""Key files: written and read again, and each of BIND's programs takes ours as we take theirs."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from responder_plugins.dns.keys import algorithms
from responder_plugins.dns.keys.key import Key, ds
from responder_plugins.dns.keys.key_files import KeyFolder

from responder import ConfigErrors

ZONE = b"\7example\4test\0"
TIMES = {"Created": 1790000000, "Publish": 1790000000, "Activate": 1790003600, "SyncPublish": 1790007200}


def made(folder: KeyFolder, algorithm: int = 13, **more: Any) -> Key:
    key = folder.new(algorithm, **({"leads": True, "signs": True, "times": TIMES, "taken": set()} | more))
    folder.save(key)
    return key


def run(*argv: object) -> str:
    return subprocess.run(list(map(str, argv)), check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("algorithm", algorithms.NAMES)
@pytest.mark.parametrize(("leads", "signs"), [(True, True), (True, False), (False, True)])
def test_a_key_is_read_as_it_was_written(algorithm: int, leads: bool, signs: bool, tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "made/here", ZONE)
    key = made(folder, algorithm, leads=leads, signs=signs, times={**TIMES, "DSPublish": 1790009999})
    if not signs:  # else a key with the flag SEP alone is a CSK
        made(folder, algorithm, leads=False, signs=True, times={})
    (read,) = [each for each in folder.load() if each.tag == key.tag]
    assert attrs.evolve(read, signing=key.signing) == key
    assert (read.dnskey, read.signing.fields()) == (key.dnskey, key.signing.fields())
    assert read.role == {(True, True): "CSK", (True, False): "KSK", (False, True): "ZSK"}[leads, signs]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has access lists, which the folder gives its files")
def test_nobody_else_reads_a_private_key(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, ZONE)
    key = made(folder)
    folder.save(key.with_times(Inactive=1800000000))
    private = next(tmp_path.glob("*.private"))
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert sorted(each.suffix for each in tmp_path.iterdir()) == [".key", ".private", ".state"]
    assert folder.load()[0].times == {**TIMES, "Inactive": 1800000000}


def test_a_key_that_is_deleted_while_all_are_read_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = KeyFolder(tmp_path, ZONE)
    here = made(folder)
    gone = made(folder, taken={here.tag})
    read = KeyFolder._read

    def meanwhile(self: KeyFolder, public: Path) -> Key:
        folder.delete(gone)
        return read(self, public)

    monkeypatch.setattr(KeyFolder, "_read", meanwhile)
    assert [key.tag for key in folder.load()] == [here.tag]
    assert len([*tmp_path.iterdir()]) == 3


def test_zones_share_a_folder(tmp_path: Path) -> None:
    names = [ZONE, b"\3sub" + ZONE, b"\0", b"\4a/.b\4test\0"]
    keys = {name: made(KeyFolder(tmp_path, name)) for name in names}
    assert {name: [each.tag for each in KeyFolder(tmp_path, name).load()] for name in names} == {
        name: [key.tag] for name, key in keys.items()
    }
    assert KeyFolder(tmp_path / "none", ZONE).load() == []


@pytest.mark.parametrize(
    ("suffix", "change", "message"),
    [
        (".private", lambda text: text.replace("PrivateKey", "SecretKey"), "is no private key: no field 'PrivateKey'"),
        (".private", lambda text: re.sub(r"(PrivateKey: ..)", r"\1!", text), "is no private key"),
        (".private", lambda text: re.sub(r"PrivateKey: .*", "PrivateKey: AAAA", text), "of 3 bytes"),
        (".private", lambda text: text.replace("Algorithm: 13", "Algorithm: 5"), "algorithm 5, with which nothing"),
        (".private", lambda text: text.replace("Algorithm: 13", "Algorithm: x"), "no number of an algorithm"),
        (".private", lambda text: text.replace("Publish: 2026", "Publish: 26"), "a time that is not YYYYMMDDHHMMSS"),
        (".key", lambda text: text.replace("DNSKEY 257", "DNSKEY 0"), "has no DNSKEY record"),
        (".key", lambda text: text.replace("257 3 13", "256 3 13"), "and its name another"),
        (".key", lambda _text: "", "has no DNSKEY record"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(suffix: str, change: Any, message: str, tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, ZONE)
    key = made(folder)
    file = next(tmp_path.glob(f"*{suffix}"))
    file.write_text(change(file.read_text()))
    with pytest.raises(ConfigErrors, match=re.escape(message)) as caught:
        folder.load()
    assert caught.value.errors[0].file == file
    secret = key.signing.fields()["PrivateKey"]
    assert secret not in str(caught.value)
    assert secret[4:20] not in str(caught.value)


def test_a_private_key_that_is_missing_or_of_another_is_told(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, ZONE)
    made(folder)
    file = next(tmp_path.glob("*.private"))
    other = KeyFolder(tmp_path / "other", ZONE)
    made(other)
    file.write_bytes(next(other.path.glob("*.private")).read_bytes())
    with pytest.raises(ConfigErrors, match="is not the private key of"):
        folder.load()
    file.unlink()
    with pytest.raises(ConfigErrors, match=r"\.private: can't be read"):
        folder.load()


@pytest.mark.clients("dnssec-keygen", "dnssec-dsfromkey")
@pytest.mark.parametrize("algorithm", algorithms.NAMES)
def test_keys_of_dnssec_keygen_are_keys(algorithm: int, tmp_path: Path) -> None:
    arguments = ["-K", tmp_path, "-a", algorithm, *(("-b", 2048) if algorithm == 8 else ())]
    lead = run("dnssec-keygen", *arguments, "-f", "KSK", "example.test")
    (key,) = KeyFolder(tmp_path, ZONE).load()
    assert (key.role, key.tag, key.algorithm) == ("CSK", int(lead[-5:]), algorithm)
    digest = run("dnssec-dsfromkey", "-2", tmp_path / f"{lead}.key").split()
    assert ds(key).hex().upper() == f"{key.tag:04X}{algorithm:02X}02" + "".join(digest[6:])
    zsk = run("dnssec-keygen", *arguments, "example.test")
    assert {key.tag: key.role for key in KeyFolder(tmp_path, ZONE).load()} == {
        int(lead[-5:]): "KSK",
        int(zsk[-5:]): "ZSK",
    }
    assert all(set(key.times) == {"Created", "Publish", "Activate"} for key in KeyFolder(tmp_path, ZONE).load())


@pytest.mark.clients("ldns-keygen")
def test_a_key_without_times_is_used_as_it_is(tmp_path: Path) -> None:
    subprocess.run(["ldns-keygen", "-a", "ECDSAP256SHA256", "-k", "example.test"], cwd=tmp_path, check=True)
    (key,) = KeyFolder(tmp_path, ZONE).load()
    assert key.active(1)


@pytest.mark.clients("dnssec-signzone", "dnssec-settime", "dnssec-verify")
@pytest.mark.parametrize("algorithm", algorithms.NAMES)
def test_bind_signs_with_our_keys(algorithm: int, tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, ZONE)
    times = {"Created": 1700000000, "Publish": 1700000000, "Activate": 1700000000}
    lead = made(folder, algorithm, signs=False, times=times)
    made(folder, algorithm, leads=False, times=times, taken={lead.tag})
    zone = tmp_path / "zone"
    zone.write_text("$TTL 300\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 192.0.2.53\n")
    run("dnssec-signzone", "-S", "-K", tmp_path, "-d", tmp_path, "-o", "example.test", "-f", tmp_path / "signed", zone)
    run("dnssec-verify", "-o", "example.test", tmp_path / "signed")
    shown = run("dnssec-settime", "-p", "all", next(tmp_path.glob(f"*{lead.tag:05}.key")))
    assert "Publish: Tue Nov 14 22:13:20 2023" in shown

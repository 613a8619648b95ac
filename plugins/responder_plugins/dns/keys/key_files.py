"""The keys of a folder, in the files of BIND's dnssec-keygen, so that each side's keys are the other's too.

    Kexample.test.+013+12345.key      the DNSKEY record, and the times as comments
    Kexample.test.+013+12345.private  the private key (format v1.3) and the times; only its owner reads it
    Kexample.test.+013+12345.state    what those have no place for: roles, and when the parent had the DS record

Each file is written whole or not at all, the `.key` file last, and deleted first: a key is there where all of it is.
"""

from __future__ import annotations

import base64
import binascii
import calendar
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from responder import ConfigError, ConfigErrors, private_opener

from ..zone.builder import name_text
from ..zone.words import shown
from . import algorithms
from .algorithms import Unusable
from .key import DS_PUBLISH, PUBLISH, SEP, ZONE_KEY, Key, key_tag

_SAFE: Final = re.compile(rb"[a-z0-9_-]")
_FILE: Final = re.compile(r"\+([0-9]{3})\+([0-9]{5})\.key")
_IN_PRIVATE: Final[tuple[str, ...]] = (
    "Created",
    "Publish",
    "Activate",
    "Revoke",
    "Inactive",
    "Delete",
    "SyncPublish",
    "SyncDelete",
)


@attrs.frozen
class KeyFolder:
    """The keys of one zone; `zone` is its name in wire form and lower case."""

    path: Path
    zone: bytes

    def load(self) -> list[Key]:
        """All keys, the one that is published first first.  Raises ConfigErrors; none where there is no such folder."""
        mistakes = []
        keys = []
        try:
            names = sorted(entry.name for entry in self.path.iterdir() if entry.name.startswith(f"K{self._name}+"))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigErrors([ConfigError(f"can't be read: {error.strerror}", file=self.path)]) from error
        for name in names:
            if _FILE.fullmatch(name, len(self._name) + 1):
                try:
                    keys.append(self._read(self.path / name))
                except ConfigError as error:
                    if os.path.lexists(self.path / name):  # else it was deleted meanwhile
                        mistakes.append(error)
        if mistakes:
            raise ConfigErrors(mistakes)
        if all(key.leads for key in keys):
            return sorted(keys, key=_order)
        # A key with the flag SEP is a CSK where it says so, or where no ZSK is beside it.
        split = [attrs.evolve(key, signs=key.signs and (not key.leads or self._says_so(key))) for key in keys]
        return sorted(split, key=_order)

    def new(self, algorithm: int, *, leads: bool, signs: bool, times: Mapping[str, int], taken: set[int]) -> Key:
        """A key that is in no file yet, with a tag that is not `taken`."""
        while True:
            flags = ZONE_KEY | (SEP if leads else 0)
            key = Key(self.zone, flags, signs, algorithms.generate(algorithm), times)
            if key.tag not in taken:
                return key

    def save(self, key: Key) -> None:
        """Write its files.  Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        base = self._base(key)
        private = ["Private-key-format: v1.3", f"Algorithm: {key.algorithm} ({algorithms.NAMES[key.algorithm]})"]
        private += [f"{name}: {value}" for name, value in key.signing.fields().items()]
        private += [f"{name}: {_date(key.times[name])}" for name in _IN_PRIVATE if name in key.times]
        state = [f"; This is the state of key {key.tag}, for {self._name}"]
        state += [f"Algorithm: {key.algorithm}", f"Length: {key.signing.bits}"]
        state += [f"KSK: {_yes(key.leads)}", f"ZSK: {_yes(key.signs)}"]
        if DS_PUBLISH in key.times:
            state.append(f"{DS_PUBLISH}: {_date(key.times[DS_PUBLISH])} ({time.ctime(key.times[DS_PUBLISH])})")
        kind = "key-signing" if key.leads else "zone-signing"
        public = [f"; This is a {kind} key, keyid {key.tag}, for {self._name}"]
        public += [f"; {name}: {_date(key.times[name])}" for name in _IN_PRIVATE if name in key.times]
        material = base64.b64encode(key.signing.public).decode()
        public.append(f"{name_text(self.zone)} IN DNSKEY {key.flags} 3 {key.algorithm} {material}")
        for suffix, lines in ((".private", private), (".state", state), (".key", public)):
            text = "".join(f"{line}\n" for line in lines)
            _write(self.path / (base + suffix), text, private=suffix == ".private")

    def delete(self, key: Key) -> None:
        """Delete its files.  Raises OSError."""
        for suffix in (".key", ".state", ".private"):
            (self.path / (self._base(key) + suffix)).unlink(missing_ok=True)

    def _base(self, key: Key) -> str:
        return f"K{self._name}+{key.algorithm:03}+{key.tag:05}"

    @property
    def _name(self) -> str:
        return file_name(self.zone)

    def _says_so(self, key: Key) -> bool:
        base = self.path / f"{self._base(key)}.state"
        return _fields(base).get("ZSK") == "yes" if base.exists() else False

    def _read(self, public: Path) -> Key:
        flags, algorithm, material = _dnskey(public)
        private = public.with_suffix(".private")
        fields = _fields(private)
        try:
            number = int(fields.get("Algorithm", "").split(" ")[0] or 0)
            signing = algorithms.read(number, fields)
        except (Unusable, ValueError) as error:
            said = str(error) if isinstance(error, Unusable) else "no number of an algorithm"
            raise ConfigError(f"is no private key: {said}", file=private) from None
        if signing.algorithm != algorithm or signing.public != material:
            raise ConfigError(f"is not the private key of {public.name}", file=private)
        times: dict[str, int] = {name: _seconds(fields[name], private) for name in _IN_PRIVATE if name in fields}
        if not times:  # as ldns-keygen writes it: a key that is used as it is
            times = {PUBLISH: 0, "Activate": 0}
        state = public.with_suffix(".state")
        known = _fields(state) if state.exists() else {}
        if DS_PUBLISH in known:
            times[DS_PUBLISH] = _seconds(known[DS_PUBLISH].split(" ")[0], state)
        signs = known.get("ZSK", "yes") == "yes"
        return Key(self.zone, flags, signs, signing, times)


def file_name(zone: bytes) -> str:
    """A zone's name as BIND has it in names of files, with its last dot."""
    labels = []
    at = 0
    while zone[at]:
        label = zone[at + 1 : at + 1 + zone[at]]
        labels.append("".join(chr(byte) if _SAFE.match(bytes((byte,))) else f"%{byte:02X}" for byte in label))
        at += len(label) + 1
    return ".".join(labels) + "."


def _order(key: Key) -> tuple[int, int]:
    return key.times.get(PUBLISH, 2**62), key.tag


def _dnskey(file: Path) -> tuple[int, int, bytes]:
    """Flags, algorithm and public key of the record in a `.key` file."""
    for line in _lines(file):
        words = line.partition(";")[0].split()
        if "DNSKEY" not in words:
            continue
        flags, protocol, algorithm, *material = words[words.index("DNSKEY") + 1 :]
        try:
            public = base64.b64decode("".join(material), validate=True)
            numbers = int(flags), int(algorithm)
        except (ValueError, binascii.Error):
            break
        if protocol != "3" or not numbers[0] & ZONE_KEY:
            break
        tag = key_tag(numbers[0].to_bytes(2) + bytes((3, numbers[1])) + public)
        if not file.stem.endswith(f"+{numbers[1]:03}+{tag:05}"):
            raise ConfigError(f"holds a key of algorithm {numbers[1]} and tag {tag}, and its name another", file=file)
        return *numbers, public
    raise ConfigError("has no DNSKEY record of a zone's key", file=file)


def _lines(file: Path) -> Iterator[str]:
    """The lines but for comments.  Raises ConfigError."""
    try:
        text = file.read_bytes().decode("ascii", "replace")
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", file=file) from error
    for line in text.splitlines():
        if line.strip() and not line.startswith(";"):
            yield line


def _fields(file: Path) -> dict[str, str]:
    """Raises ConfigError."""
    found = {}
    for line in _lines(file):
        name, _, value = line.partition(":")
        found[name.strip()] = value.strip()
    return found


def _date(seconds: int) -> str:
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(seconds))


def _seconds(text: str, file: Path) -> int:
    word = text.split(" ", maxsplit=1)[0]
    try:
        if len(word) == 14:
            return calendar.timegm(time.strptime(word, "%Y%m%d%H%M%S"))
    except ValueError:
        pass
    raise ConfigError(f"a time that is not YYYYMMDDHHMMSS: {shown(word)}", file=file)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _write(file: Path, text: str, *, private: bool) -> None:
    """Replace the file's content, or leave it as it is.  Raises OSError."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with open(new, "x", encoding="ascii", opener=private_opener if private else None) as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    os.replace(new, file)

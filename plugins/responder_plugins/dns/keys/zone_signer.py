"""Signs one zone by its policy: which keys there are, what is signed with them, and when that is due again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from responder import ConfigError, ConfigErrors, FileLock, Stamp, get_logger, stamp_of

from ..message import wire
from ..zone.builder import name_text, type_text
from ..zone.changes import Change, difference, fitting, soa_record, with_serial
from ..zone.edit import DoesNotFitError, Edit
from ..zone.rules import MADE_BY_SIGNER
from ..zone.tables import Zone, blocks, ttl_of, unpack
from ..zone.zone_files import SOME_RECORDS
from . import algorithms, timeline
from .amendment import amended
from .key import DELETE, DS_PUBLISH, INACTIVE, Key
from .key_files import KeyFolder
from .records import LED, RecordSigner, at_apex, tag_of
from .signing import Denial, WholeZone, serial_after

if TYPE_CHECKING:
    from .. import Sign

LOCK: Final = ".lock"
"""The file in the folder of keys that who changes keys has locked."""

AT_ONCE: Final = 3600.0
"""Seconds: signatures that are due within as many are replaced together."""

_log = get_logger(__name__)


@attrs.define(eq=False)
class ZoneSigner:
    """`path` is the policy's in the configuration.

    longest  the longest TTL of the zone, in seconds
    made     how many signatures were made the last time
    """

    origin: bytes
    policy: Sign
    folder: KeyFolder
    path: str
    longest: int = attrs.field(default=0, init=False)
    made: int = attrs.field(default=0, init=False)
    _known: tuple[Stamp, list[Key]] | None = attrs.field(default=None, init=False)

    # Preparing: nothing is written

    def load_keys(self) -> list[Key]:
        """All keys.  Raises ConfigErrors for what is wrong with them, or with their folder."""
        try:
            keys = self.folder.load()
        except ConfigErrors as several:
            path = f"{self.path}.keys"
            raise ConfigErrors(
                ConfigError(each.message, path=path, file=each.file) for each in several.errors
            ) from None
        wanted = algorithms.NUMBERS[self.policy.algorithm]
        others = sorted({algorithms.NAMES[key.algorithm] for key in keys if key.algorithm != wanted})
        if others:
            message = (
                f"{self.folder.path} has keys of {', '.join(others)}, and the policy wants {self.policy.algorithm}: "
                "one algorithm is not exchanged for another here"
            )
            raise ConfigErrors([ConfigError(message, path=f"{self.path}.algorithm")])
        reason = unwritable(self.folder.path)
        if reason:
            raise ConfigErrors(
                [ConfigError(f"keys can't be kept in {self.folder.path}: {reason}", path=f"{self.path}.keys")]
            )
        return keys

    def refuse_signed(self, zone: Zone, file: Path) -> None:
        """Raises ConfigErrors where the zone's file has records that are made here."""
        found = {
            rdtype
            for table in (zone.nodes, zone.hashed)
            for node in table.values()
            for rdtype, _, _, _ in blocks(node)
            if rdtype in MADE_BY_SIGNER
        }
        if found:
            types = ", ".join(map(type_text, sorted(found)))
            message = f"has {types} records, and is to be signed here ({self.path}): take a file without them"
            raise ConfigErrors([ConfigError(message, file=file)])

    def doubts(self, zone: Zone) -> Iterator[str]:
        """What the policy leaves to luck, of this zone."""
        longest = longest_ttl(zone)
        if self.policy.signature_refresh <= longest + self.policy.propagation:
            yield (
                f"signature_refresh is not longer than the longest TTL ({longest} s) and propagation together: "
                "signatures may end in caches"
            )

    def sign(self, zone: Zone, keys: list[Key], before: Zone | None, now: float) -> Zone:
        """The zone signed with keys; as it is where no key is there yet."""
        self.longest = longest_ttl(zone)
        signer = self.record_signer(keys, now)
        if not signer.keys or not signer.leading:
            return zone
        whole = WholeZone(zone, signer, self.denial, before, None if before is zone else zone.serial)
        signed = whole.sign(at_apex(keys, now, self.policy.cds), int(self.policy.dnskey_ttl))
        self.made = whole.made
        return signed

    def record_signer(self, keys: list[Key], now: float) -> RecordSigner:
        policy = self.policy
        return RecordSigner(
            self.origin,
            [key for key in keys if key.active(now)],
            [key for key in keys if key.signs and key.published(now)],
            [key for key in keys if key.leads and key.published(now)],
            int(now),
            int(policy.signature_lifetime),
            int(policy.signature_refresh + self.window),
            int(policy.signature_jitter),
        )

    @property
    def denial(self) -> Denial:
        return Denial(self.policy.denial == "nsec3", self.policy.opt_out)

    # Serving: by one process at a time

    def renew(self, zone: Zone, before: Zone | None, now: float, *, doubtful: bool = False) -> Zone:
        """The zone with keys and signatures as they are to be now; itself where nothing is different.

        `before` is the last signed zone, where this one isn't signed, or is `doubtful`: signed, but maybe for other
        records.  Keys are made, and their times written.  Raises OSError, and ConfigErrors.
        """
        keys = self.planned(zone, now)
        if doubtful or zone.chain is None:
            return self.sign(zone, keys, before, now)
        return self.sign(zone, keys, zone, now) if self._is_due(zone, keys, now) else zone

    def take(self, zone: Zone, before: Zone | None, now: float) -> Zone:
        """A version that has come from elsewhere, signed: without what others have made of it for DNSSEC.

        `before` is the last signed one, and is the result where nothing is different.  Raises as `renew`.
        """
        return self.sign(zone, self.planned(zone if before is None else before, now), before, now)

    def follow(self, zone: Zone, was: Zone, coming: Zone, now: float) -> Edit | None:
        """What a version that has come from elsewhere makes of the signed zone, which is of the version `was`.

        None: it is to be signed whole.  Raises ConfigErrors.
        """
        change = difference(was, coming, SOME_RECORDS + len(was.nodes) // 2)
        if change is None or change.removed[0] == change.added[0] or not self._known_keys():
            return None
        len(zone.children)  # a look at all names, at the first time
        after = with_serial(soa_record(coming), serial_after(coming.serial, zone.serial, changed=True))
        try:
            edit = Edit(zone, self.complete(zone, fitting(zone, change, after), now))
        except DoesNotFitError:
            return None
        self.made = sum(record.rdtype == wire.RRSIG for record in edit.change.added)
        return None if any(edit.mistakes()) else edit

    def planned(self, zone: Zone, now: float) -> list[Key]:
        """The keys as they are to be, and are kept so.  Raises OSError, and ConfigErrors."""
        with FileLock(self.folder.path / LOCK):
            keys = []
            for key in self.load_keys():
                end = timeline.forgotten(key, self.policy)
                if end is None or end > now:
                    keys.append(key)
                else:
                    self.folder.delete(key)
                    _log.info("the files of a removed key are deleted", zone=name_text(self.origin), tag=key.tag)
            self.longest = longest_ttl(zone)
            is_one_leaving = any(key.at(INACTIVE, now) and DELETE not in key.times for key in keys)
            used = used_tags(zone) if is_one_leaving else set[int]()
            planned = timeline.plan(keys, self.policy, now, self.longest, used, self._maker(keys))
            for key in planned:
                if key not in keys:
                    self.folder.save(key)
        return planned

    def complete(self, zone: Zone, change: Change, now: float) -> Change:
        """A change of a zone that is signed here, with all that signing makes of it.  Raises ConfigErrors."""
        if zone.chain is None or not (keys := self._known_keys()):
            return change
        apex = at_apex(keys, now, self.policy.cds)
        return amended(zone, change, self.record_signer(keys, now), self.denial, apex, int(self.policy.dnskey_ttl))

    def _known_keys(self) -> list[Key]:
        stamp = stamp_of(self.folder.path)
        if self._known is None or self._known[0] != stamp:
            self._known = stamp, self.folder.load()
        return self._known[1]

    def _maker(self, keys: list[Key]) -> timeline.MakeKey:
        taken = {key.tag for key in keys}

        def make(*, leads: bool, signs: bool, times: timeline.Times) -> Key:
            key = self.folder.new(
                algorithms.NUMBERS[self.policy.algorithm], leads=leads, signs=signs, times=times, taken=taken
            )
            taken.add(key.tag)
            return key

        return make

    # What operators say

    def succeed(self, now: float, *, leads: bool, signs: bool) -> Key | str:
        """A key that takes the place of the one with these roles, or why there may be none yet.  Raises as `renew`."""
        with FileLock(self.folder.path / LOCK):
            keys = self.load_keys()
            reason = timeline.why_no_successor(keys, now, leads=leads, signs=signs)
            if reason is not None:
                return reason
            key = timeline.successor(keys, self.policy, now, self._maker(keys), leads=leads, signs=signs)
            self.folder.save(key)
            return key

    def note_ds(self, tag: int, now: float) -> bool:
        """The parent has the DS record of a key; False: there is none such.  Raises as `renew`."""
        with FileLock(self.folder.path / LOCK):
            for key in self.load_keys():
                if key.tag == tag and key.leads and key.published(now):
                    self.folder.save(key.with_times(DSPublish=key.times.get(DS_PUBLISH, int(now))))
                    return True
        return False

    def _is_due(self, zone: Zone, keys: list[Key], now: float) -> bool:
        if zone.chain is None or zone.first_end is None or zone.first_end <= now + self.policy.signature_refresh:
            return True
        if (zone.chain.rdtype == wire.NSEC3) != (self.policy.denial == "nsec3"):
            return True
        apex = at_apex(keys, now, self.policy.cds)
        for rdtype in LED:
            rrset = zone.rrset(self.origin, rdtype)
            if sorted(() if rrset is None else rrset.rdatas) != sorted(apex.get(rdtype, ())):
                return True
        return False

    def next_time(self, zone: Zone, now: float) -> float:
        """When there is something to do, in seconds of the real-time clock."""
        times = [now + 86400]
        event = timeline.next_event(self.folder.load(), self.policy, now)
        if event is not None:
            times.append(event)
        if zone.first_end is not None:
            # What was replaced a moment ago is not looked at again at once, should it end too early all the same.
            times.append(max(zone.first_end - self.policy.signature_refresh, now + self.window / 2))
        return min(times)

    @property
    def window(self) -> float:
        """Seconds ahead of `signature_refresh` in which signatures are replaced with those that are due."""
        room = self.policy.signature_lifetime - self.policy.signature_refresh - self.policy.signature_jitter
        return min(AT_ONCE, room / 4)


def longest_ttl(zone: Zone) -> int:
    """Seconds."""
    return max(ttl_of(records) for node in zone.nodes.values() for _, _, _, records in blocks(node))


def used_tags(zone: Zone) -> set[int]:
    """The tags of the keys that a zone's records are signed with."""
    return {
        tag_of(rrsig)
        for table in (zone.nodes, zone.hashed)
        for node in table.values()
        for rdtype, covered, _, records in blocks(node)
        if rdtype == wire.RRSIG and covered not in LED
        for rrsig in unpack(records)[1]
    }


def unwritable(folder: Path) -> str:
    """Why nothing can be written into a folder that is there or to be made; empty: it can be."""
    there = folder
    while not there.exists():
        if there == there.parent:
            return "there is no such drive"
        there = there.parent
    if not there.is_dir():
        return f"{there} is no folder"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} can't be written to"

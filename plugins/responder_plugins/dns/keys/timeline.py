"""When keys are made, published, used and withdrawn: rollover by pre-publication (RFC 7583).

A *ZSK*, or what a CSK does as one (section 3.2.1):

    published ──► ready ──► active ──► retired ──► removed
             DNSKEY TTL      lifetime    │   zone's longest TTL
             + propagation               │   + propagation, once its last signature is replaced

The new key signs from when every cache can have it, the old one leaves when no cache can have a signature of it.

A *KSK*, or what a CSK does as one (section 3.3.1, double-KSK):

    published, signing DNSKEY ──► ready: CDS ──► DS at the parent ──► the old one is removed
             DNSKEY TTL + propagation      operator        parent's DS TTL + delay

The parent isn't asked here, since that takes recursion: the operator says that the DS record is there
(`responderd dns keys ZONE --ds-seen TAG`), and until then the old key stays.  Time alone never removes it: a zone
without the key that its DS record names is bogus.

The two parts of a CSK go on by themselves; it leaves when both are over.

The files of a removed key are deleted once no cache can have its DNSKEY record, and operators had time to look.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import attrs

from .key import ACTIVATE, CREATED, DELETE, DS_PUBLISH, INACTIVE, PUBLISH, SYNC_PUBLISH, Key

if TYPE_CHECKING:
    from .. import Sign

KEPT: Final = 90 * 86400
"""Seconds for which the files of a removed key are kept at least, as BIND keeps them (`purge-keys`)."""

Times: TypeAlias = Mapping[str, int]
"""Of a key; see `key`."""


class MakeKey(Protocol):
    """Makes a key that signs DNSKEY records (`leads`), the zone's records (`signs`), or both."""

    def __call__(self, *, leads: bool, signs: bool, times: Times) -> Key: ...


def plan(
    keys: Sequence[Key], policy: Sign, now: float, longest: int, used: Collection[int], make: MakeKey
) -> list[Key]:
    """The keys with what is to happen, those that are new included.

    `longest` is the longest TTL of the zone in seconds; `used` the tags of the keys that the zone's signatures are of.
    """
    planned = sorted((_asks_parent(key, policy, longest) for key in keys), key=_order)
    for leads, signs in [(True, True)] if policy.csk else [(True, False), (False, True)]:
        wanted = [(role, wants) for role, wants in ((_leads, leads), (_signs, signs)) if wants]
        missing = [role for role, _ in wanted if not any(role(key) for key in _there(planned, now))]
        if missing:
            planned.append(first(policy, now, longest, make, leads=leads, signs=signs))
        elif any(_due(planned, role, policy, now) for role, _ in wanted):
            planned.append(successor(planned, policy, now, make, leads=leads, signs=signs))
    return [_withdrawn(key, planned[number + 1 :], policy, now, longest, used) for number, key in enumerate(planned)]


def first(policy: Sign, now: float, longest: int, make: MakeKey, *, leads: bool, signs: bool) -> Key:
    """A key without one before it, which is used at once: nothing in a cache is signed yet."""
    moment = int(now)
    times = {CREATED: moment, PUBLISH: moment, ACTIVATE: moment}
    if leads:  # once no cache has a record without a signature
        times[SYNC_PUBLISH] = moment + int(max(longest, policy.dnskey_ttl) + policy.propagation)
    return make(leads=leads, signs=signs, times=times)


def successor(keys: Sequence[Key], policy: Sign, now: float, make: MakeKey, *, leads: bool, signs: bool) -> Key:
    """A key for the place of those that have these roles: published now, used when every cache can have it."""
    moment = int(now)
    ready = moment + int(policy.dnskey_ttl + policy.propagation)
    ends = [
        key.times[ACTIVATE] + int(lifetime)
        for key in keys
        if signs and key.signs and ACTIVATE in key.times and (lifetime := lifetime_of(key, policy))
    ]
    times = {CREATED: moment, PUBLISH: moment, ACTIVATE: max([ready, *ends]) if signs else moment}
    if leads:
        times[SYNC_PUBLISH] = ready
    return make(leads=leads, signs=signs, times=times)


def why_no_successor(keys: Sequence[Key], now: float, *, leads: bool, signs: bool) -> str | None:
    """Why no key may take the place of one with these roles; None: one may.

    There must be one, and the rollover before be over: the last key is used, and its DS record seen.
    """
    for wanted, role in ((leads, _leads), (signs, _signs)):
        if not wanted:
            continue
        there = [key for key in _there(keys, now) if role(key)]
        if not there:
            return "there is no key to be exchanged: the daemon makes the first one when it starts"
        last = max(there, key=_order)
        waiting = [key for key in there if not key.at(ACTIVATE, now)]
        if waiting:
            does = "signs" if waiting[0].published(now) else "is published"
            return f"the rollover before has not ended: key {waiting[0].tag} waits for the time when it {does}"
        if role is _leads and len(there) > 1 and DS_PUBLISH not in last.times:
            return f"the rollover before has not ended: key {last.tag} waits for its DS record (--ds-seen {last.tag})"
    return None


def lifetime_of(key: Key, policy: Sign) -> float:
    """Seconds for which a key is used; 0: until the operator wants another."""
    return policy.key_lifetime if key.signs else policy.ksk_lifetime


def next_event(keys: Sequence[Key], policy: Sign, now: float) -> float | None:
    """When there is something to do next, as far as the keys tell."""
    times = [time for key in keys for time in key.times.values() if time > now]
    for role in (_leads, _signs):
        due = _due_time([key for key in _there(keys, now) if role(key)], policy)
        if due is not None and due > now:
            times.append(int(due) + 1)
    return min(times, default=None)


def requests_ds(keys: Sequence[Key], now: float) -> Key | None:
    """The key of the CDS and CDNSKEY records: the last that is ready to be the parent's."""
    ready = [key for key in keys if key.leads and key.published(now) and key.at(SYNC_PUBLISH, now)]
    return max(ready, key=_order, default=None)


def state(key: Key, now: float) -> str:
    """What a key is now, by the words of RFC 7583 section 3.1."""
    if not key.at(PUBLISH, now):
        return "generated"
    if key.at(DELETE, now):
        return "removed"
    if key.signs:
        if key.at(INACTIVE, now):
            return "retired"
        return "active" if key.at(ACTIVATE, now) else "published"
    if key.at(DS_PUBLISH, now):
        return "active"
    return "ready" if key.at(SYNC_PUBLISH, now) else "published"


def state_at_parent(key: Key, keys: Sequence[Key], now: float) -> str:
    """The same of a KSK, or of a CSK as one; `keys` are all of the zone, the one that is published first first."""
    if any(each.leads and each.at(DS_PUBLISH, now) for each in keys[keys.index(key) + 1 :]):
        return "retired"
    return state(attrs.evolve(key, signs=False), now)


def forgotten(key: Key, policy: Sign) -> int | None:
    """When the files of a key are to be deleted; None: that is not known yet."""
    removed = key.times.get(DELETE)
    return None if removed is None else removed + int(max(KEPT, policy.dnskey_ttl + policy.propagation))


def events(key: Key, keys: Sequence[Key], policy: Sign, now: float) -> Iterator[tuple[int | None, str]]:
    """What is to happen to a key, and when; None: when the operator has said something."""
    what = {
        PUBLISH: "is published",
        SYNC_PUBLISH: "asks for its DS record (CDS)",
        ACTIVATE: "signs the zone",
        INACTIVE: "signs no more",
        DELETE: "is removed",
    }
    for name, text in what.items():
        time = key.times.get(name)
        if time is not None and time > now and (name != ACTIVATE or key.signs):
            yield time, text
    if key.at(DELETE, now):
        yield forgotten(key, policy), "its files are deleted"
    if requests_ds(keys, now) is key and DS_PUBLISH not in key.times:
        yield None, f"waits for its DS record at the parent (--ds-seen {key.tag})"


def _there(keys: Sequence[Key], now: float) -> list[Key]:
    return [key for key in keys if PUBLISH in key.times and not key.at(DELETE, now)]


def _leads(key: Key) -> bool:
    return key.leads


def _signs(key: Key) -> bool:
    return key.signs


def _order(key: Key) -> tuple[int, int]:
    return key.times.get(PUBLISH, 2**62), key.tag


def _asks_parent(key: Key, policy: Sign, longest: int) -> Key:
    """A KSK that dnssec-keygen made has no time for its CDS records."""
    if not key.leads or SYNC_PUBLISH in key.times or PUBLISH not in key.times:
        return key
    return key.with_times(SyncPublish=key.times[PUBLISH] + int(max(longest, policy.dnskey_ttl) + policy.propagation))


def _due_time(keys: Sequence[Key], policy: Sign) -> float | None:
    """When the last of some keys needs a successor; None: never, or not before the operator has said something."""
    if not keys:
        return None
    last = max(keys, key=_order)
    lifetime = lifetime_of(last, policy)
    if not lifetime or ACTIVATE not in last.times:
        return None
    if last.leads and DS_PUBLISH not in last.times and any(key.leads and key is not last for key in keys):
        return None  # the rollover before has not ended
    return last.times[ACTIVATE] + lifetime - policy.dnskey_ttl - policy.propagation


def _due(keys: Sequence[Key], role: Callable[[Key], bool], policy: Sign, now: float) -> bool:
    due = _due_time([key for key in _there(keys, now) if role(key)], policy)
    return due is not None and due <= now


def _withdrawn(key: Key, later: Sequence[Key], policy: Sign, now: float, longest: int, used: Collection[int]) -> Key:
    """The key with the times at which it gives way to those behind it."""
    signers = [each.times[ACTIVATE] for each in later if each.signs and ACTIVATE in each.times]
    if key.signs and signers and not key.at(INACTIVE, min(signers)):
        key = key.with_times(Inactive=min(signers))
    if DELETE in key.times:
        return key
    ends = []
    if key.leads:
        seen = [each.times[DS_PUBLISH] for each in later if each.leads and DS_PUBLISH in each.times]
        if not seen:
            return key
        ends.append(min(seen) + policy.parent_delay + policy.parent_ds_ttl)
    if key.signs:
        if key.tag in used or not key.at(INACTIVE, now):
            return key
        ends.append(now + policy.propagation + longest)
    if not ends:
        return key
    return key.with_times(Delete=int(max(ends)) + 1)

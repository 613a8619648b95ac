"""Rollovers on a clock of their own: whatever a resolver has in its caches, it can validate at every moment."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence

import attrs
import pytest
from responder_plugins.dns import Sign
from responder_plugins.dns.keys import timeline
from responder_plugins.dns.keys.algorithms import SigningKey
from responder_plugins.dns.keys.key import Key

ZONE = b"\7example\4test\0"
HOUR, DAY = 3600, 86400
LONGEST = 2 * DAY

numbers = itertools.count(1)


def make(*, leads: bool, signs: bool, times: Mapping[str, int]) -> Key:
    """A key without mathematics; no two have the same tag."""
    number = next(numbers)
    signing = SigningKey(13, number.to_bytes(64), 256, lambda _data: b"", None)  # type: ignore[arg-type]  # none is needed
    return Key(ZONE, 257 if leads else 256, signs, signing, times)


@attrs.define
class World:
    """A zone, its parent, and what resolvers may have in their caches: all versions of the last hours."""

    policy: Sign
    operator: int
    """Seconds after which the operator has had the parent change its DS record."""
    now: int = 1_800_000_000
    keys: list[Key] = attrs.field(factory=list)
    signed_by: list[tuple[int, int]] = attrs.field(factory=list)
    """Of some RRsets: the tag of the key, and the end of the signature."""
    parent: list[tuple[int, int]] = attrs.field(factory=list)
    """Since when the parent has had the DS record of which key."""
    asked: dict[int, int] = attrs.field(factory=dict)
    versions: list[tuple[int, frozenset[int], frozenset[int], frozenset[int]]] = attrs.field(factory=list)
    """At a time: tags of the DNSKEY records, of what signed them, of what signed the zone."""
    seen: set[str] = attrs.field(factory=set)

    def step(self, seconds: int, rng: random.Random) -> None:
        self.now += seconds
        now, policy = self.now, self.policy
        for _ in range(2):  # as who signs does: a plan, signatures, and what follows of them
            used = {tag for tag, _ in self.signed_by}
            self.keys = timeline.plan(self.keys, policy, now, LONGEST, used, make)
            active = [key for key in self.keys if key.active(now)]
            assert len(active) == 1
            there = {key.tag for key in self.keys if key.published(now)}
            fresh = active[0].tag, now + int(policy.signature_lifetime) - rng.randrange(int(policy.signature_jitter))
            if not self.signed_by:
                self.signed_by = [(active[0].tag, fresh[1] - rng.randrange(DAY)) for _ in range(20)]
            self.signed_by = [
                fresh if end - now <= policy.signature_refresh or tag not in there else (tag, end)
                for tag, end in self.signed_by
            ]
        wanted = timeline.requests_ds(self.keys, now)
        if wanted is not None and now - self.asked.setdefault(wanted.tag, now) >= self.operator:
            if not self.parent or self.parent[-1][1] != wanted.tag:
                self.parent.append((now, wanted.tag))
                # All of the parent's servers have it some time later, and then the operator says so.
            elif now - self.parent[-1][0] >= HOUR and "DSPublish" not in wanted.times:
                self.keys = [key.with_times(DSPublish=now) if key.tag == wanted.tag else key for key in self.keys]
        leading = {key.tag for key in self.keys if key.published(now) and key.leads}
        self.versions.append((now, frozenset(there), frozenset(leading), frozenset(tag for tag, _ in self.signed_by)))
        self.seen |= {f"{key.role} {timeline.state(key, now)}" for key in self.keys}
        self.validate()

    def validate(self) -> None:
        """A resolver has old DS, DNSKEY and other records, each as long as its TTL lets it."""
        policy, now = self.policy, self.now
        keys_since = now - policy.propagation - policy.dnskey_ttl
        data_since = now - policy.propagation - LONGEST
        ds_since = now - policy.parent_delay - policy.parent_ds_ttl
        trusted = {tag for since, tag in self.parent[-1:]}
        trusted |= {tag for (_, tag), (end, _) in itertools.pairwise(self.parent) if end > ds_since}
        key_sets = [(keys, leading) for time, keys, leading, _ in self.versions if time >= keys_since]
        signers = {tag for time, _, _, used in self.versions if time >= data_since for tag in used}
        for keys, leading in key_sets:
            assert trusted <= leading, "a DS record without a key that signs the DNSKEY records"
            assert signers <= keys, "a signature whose key is not there"


POLICIES = {
    "CSK": Sign(keys="k", key_lifetime=60 * DAY),  # type: ignore[arg-type]  # no file is looked at
    "KSK and ZSK": Sign(keys="k", csk=False, key_lifetime=40 * DAY, ksk_lifetime=150 * DAY),  # type: ignore[arg-type]
    "quick": Sign(keys="k", csk=False, key_lifetime=9 * DAY, ksk_lifetime=12 * DAY, parent_ds_ttl=6 * DAY),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("operator", [0, 3 * DAY, 100 * DAY])
@pytest.mark.parametrize("policy", POLICIES)
def test_rollovers_validate_with_any_cache(policy: str, operator: int) -> None:
    rng = random.Random(f"{policy} {operator}")  # noqa: S311 - the same one each time
    world = World(POLICIES[policy], operator)
    for _ in range(2000):
        world.step(rng.choice([HOUR, 3 * HOUR, 7 * HOUR, 12 * HOUR]), rng)
    assert len(world.keys) > 4
    assert len(world.parent) > 1
    roles = {"CSK"} if POLICIES[policy].csk else {"ZSK"}
    for role in roles:
        assert {f"{role} {state}" for state in ("published", "active", "retired", "removed")} <= world.seen
    if not POLICIES[policy].csk:
        assert {"KSK published", "KSK ready", "KSK active", "KSK removed"} <= world.seen


def test_without_the_operator_the_old_key_stays() -> None:
    policy = POLICIES["CSK"]
    world = World(policy, operator=10**9)
    rng = random.Random(1)  # noqa: S311 - the same one each time
    for _ in range(500):
        world.step(12 * HOUR, rng)
    first, second = world.keys  # and no third before the rollover has ended
    assert first.published(world.now)
    assert not first.active(world.now)
    assert second.active(world.now)
    assert [text for _, text in timeline.events(second, world.keys, policy, world.now)] == [
        f"waits for its DS record at the parent (--ds-seen {second.tag})"
    ]


def test_keys_without_a_lifetime_are_made_once() -> None:
    policy = Sign(keys="k", csk=False)  # type: ignore[arg-type]  # no file is looked at
    keys: Sequence[Key] = []
    for day in range(400):
        keys = timeline.plan(keys, policy, 1_800_000_000 + day * DAY, LONGEST, set(), make)
    assert sorted(key.role for key in keys) == ["KSK", "ZSK"]
    assert timeline.next_event(keys, policy, 1_900_000_000) is None


def test_what_is_due_is_an_event() -> None:
    policy = Sign(keys="k", key_lifetime=60 * DAY)  # type: ignore[arg-type]  # no file is looked at
    now = 1_800_000_000
    keys: Sequence[Key] = []
    times = []
    while len(keys) < 2:
        keys = timeline.plan(keys, policy, now, LONGEST, set(), make)
        event = timeline.next_event(keys, policy, now)
        assert event is not None
        now = int(event)
        times.append(now)
    assert times[0] == 1_800_000_000 + LONGEST + policy.propagation  # its CDS records
    (old, new) = sorted(keys, key=lambda key: key.times["Publish"])
    assert new.times["Activate"] - old.times["Activate"] in (60 * DAY, 60 * DAY + 1)
    assert new.times["Activate"] - new.times["Publish"] >= policy.dnskey_ttl + policy.propagation

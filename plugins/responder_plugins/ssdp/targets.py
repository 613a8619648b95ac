"""What a device tree is found as: the notification types of UDA 2.0 section 1.2.2, and which of them a search matches.

A root device with d embedded devices and k services is found as 3+2d+k things.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from .options import TYPE, UUID, Device

ALL = "ssdp:all"
ROOT_DEVICE = "upnp:rootdevice"


@attrs.frozen
class Root:
    """What messages say of a root device: its own location or None, its CONFIGID (UDA section 1.2.2), and the header
    fields of its vendor (section 1.1.3).
    """

    uuid: str
    location: str | None
    config_id: int
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Match:
    """One thing that a device is found as: `type` is NT in announcements and ST in answers."""

    type: str
    usn: str
    root: Root


def matches_of(device: Device, root: Root) -> Iterator[Match]:
    """All that a root device is found as, in the order of section 1.2.2."""
    for each in device.tree():
        uuid = f"uuid:{each.uuid}"
        if each is device:
            yield Match(ROOT_DEVICE, f"{uuid}::{ROOT_DEVICE}", root)
        yield Match(uuid, uuid, root)
        for type_ in (each.type, *(service.type for service in each.service_types)):
            yield Match(type_, f"{uuid}::{type_}", root)


class Index:
    """All matches, and those of a search target at the cost of a look-up."""

    def __init__(self, matches: Iterable[Match]) -> None:
        self.all: Sequence[Match] = tuple(matches)
        self._exact: dict[str, list[Match]] = {}
        self._versioned: dict[str, list[tuple[int, Match]]] = {}
        for match in self.all:
            name, version = _split(match.type)
            if version:
                self._versioned.setdefault(name, []).append((version, match))
            else:
                self._exact.setdefault(_comparable(match.type), []).append(match)

    def find(self, target: str) -> Sequence[Match]:
        """What answers a search target, each with the target as it was asked for; empty where nothing does.

        Types match case by case (field values are case-sensitive, section 1.2.2), and a device answers for the older
        versions of its types too (section 1.3.2).  A UUID matches in any case (RFC 9562 section 4).
        """
        if target.lower() == ALL:
            return self.all
        name, version = _split(target)
        if not version:
            return [attrs.evolve(match, type=target) for match in self._exact.get(_comparable(target), ())]
        return [
            attrs.evolve(match, type=target, usn=match.usn.removesuffix(match.type) + target)
            for own, match in self._versioned.get(name, ())
            if own >= version
        ]


def _split(target: str) -> tuple[str, int]:
    """A type's name and version; version 0 for what is no type."""
    if TYPE.fullmatch(target) is None:
        return target, 0
    name, _, version = target.rpartition(":")
    return name, int(version)


def _comparable(target: str) -> str:
    """The same for all targets that mean the same."""
    lower = target.lower()
    prefix, _, uuid = lower.partition(":")
    return lower if lower == ROOT_DEVICE or (prefix == "uuid" and UUID.fullmatch(uuid)) else target

"""What a device is found as, and by which search targets."""

from __future__ import annotations

import attrs
import pytest
from responder_plugins.ssdp.targets import Index, Match, Root, matches_of

from .support import BASIC, EMBEDDED_UUID, LAMP, LIGHT, ROOT_UUID, SINGLE, SWITCH

ROOT = Root(ROOT_UUID, None, 7)
INDEX = Index(matches_of(LAMP, ROOT))

ALL = [
    ("upnp:rootdevice", f"uuid:{ROOT_UUID}::upnp:rootdevice"),
    (f"uuid:{ROOT_UUID}", f"uuid:{ROOT_UUID}"),
    (f"{BASIC}:2", f"uuid:{ROOT_UUID}::{BASIC}:2"),
    (f"{SWITCH}:3", f"uuid:{ROOT_UUID}::{SWITCH}:3"),
    (f"uuid:{EMBEDDED_UUID}", f"uuid:{EMBEDDED_UUID}"),
    (f"{LIGHT}:1", f"uuid:{EMBEDDED_UUID}::{LIGHT}:1"),
    (f"{SWITCH}:1", f"uuid:{EMBEDDED_UUID}::{SWITCH}:1"),
]
"""The 3+2d+k of UDA 2.0 section 1.2.2: one embedded device, two services."""


def shown(target: str, index: Index = INDEX) -> list[tuple[str, str]]:
    return [(match.type, match.usn) for match in index.find(target)]


@pytest.mark.parametrize("target", ["ssdp:all", "SSDP:ALL"])
def test_all(target: str) -> None:
    assert shown(target) == ALL
    assert [(match.type, match.usn) for match in INDEX.all] == ALL


def test_a_lone_root_device_is_found_as_three_things() -> None:
    assert len(Index(matches_of(SINGLE, ROOT)).all) == 3


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("upnp:rootdevice", [ALL[0]]),
        (f"uuid:{ROOT_UUID}", [ALL[1]]),
        # Compared without case where UPnP or RFC 9562 allow it, and answered as it was asked for.
        (f"uuid:{EMBEDDED_UUID.upper()}", [(f"uuid:{EMBEDDED_UUID.upper()}", f"uuid:{EMBEDDED_UUID}")]),
        ("UPnP:RootDevice", [("UPnP:RootDevice", f"uuid:{ROOT_UUID}::upnp:rootdevice")]),
        # Types are compared with it.
        (f"{BASIC}:2".replace("Basic", "basic"), []),
        (f"{BASIC}:2".upper(), []),
        (f"{BASIC}:2", [ALL[2]]),
        # An older version is matched, and the answer carries the version that was asked for.
        (f"{BASIC}:1", [(f"{BASIC}:1", f"uuid:{ROOT_UUID}::{BASIC}:1")]),
        (f"{SWITCH}:2", [(f"{SWITCH}:2", f"uuid:{ROOT_UUID}::{SWITCH}:2")]),
        (f"{SWITCH}:1", [(f"{SWITCH}:1", f"uuid:{uuid}::{SWITCH}:1") for uuid in (ROOT_UUID, EMBEDDED_UUID)]),
        (f"{BASIC}:3", []),
        (f"{BASIC}:0", []),
        (f"{BASIC}:-1", []),
        (BASIC, []),
        (f"{BASIC}:1:1", []),
        (f"{BASIC}:99999999999", []),
        ("uuid:", []),
        ("urn:schemas-upnp-org:service:Basic:1", []),
        ("ssdp:everything", []),
    ],
)
def test_targets(target: str, found: list[tuple[str, str]]) -> None:
    assert shown(target) == found


def test_several_roots_all_answer() -> None:
    other = Root(EMBEDDED_UUID, "http://x/", 8)
    index = Index(
        [*matches_of(SINGLE, ROOT), Match("upnp:rootdevice", f"uuid:{EMBEDDED_UUID}::upnp:rootdevice", other)]
    )
    assert [match.root for match in index.find("upnp:rootdevice")] == [ROOT, other]


def test_a_udn_that_is_no_uuid_is_compared_with_its_case() -> None:
    udn = "Socket-1_0-EXAMPLE0001"
    index = Index(matches_of(attrs.evolve(SINGLE, uuid=udn), Root(udn, None, 7)))
    assert shown(f"uuid:{udn}", index) == [(f"uuid:{udn}", f"uuid:{udn}")]
    assert shown(f"uuid:{udn.lower()}", index) == []

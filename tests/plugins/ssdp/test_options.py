"""What the config may say: the issue's own example, and every mistake by its key's path."""

from __future__ import annotations

from pathlib import Path

import pytest
from responder_plugins.ssdp import ServiceType, Ssdp

from responder import ConfigErrors
from responder.config.structuring import structure

from .support import BASIC, EMBEDDED_UUID, ROOT_UUID, SWITCH

DEVICE = {
    "uuid": ROOT_UUID,
    "type": f"{BASIC}:1",
    "friendly_name": "Lab device",
    "location": "http://{address}:8080/device.xml",
    "services": [f"{SWITCH}:1"],
}

INNER = {"uuid": EMBEDDED_UUID, "type": f"{BASIC}:1", "friendly_name": "Inner"}


def read(**options: object) -> Ssdp:
    return structure(options, Ssdp, folder=Path("/etc/responderd"))


def test_a_device_with_all_there_is() -> None:
    plugin = read(max_age="15m", devices=[{**DEVICE, "devices": [INNER]}])
    (device,) = plugin.devices
    assert [each.uuid for each in device.tree()] == [ROOT_UUID, EMBEDDED_UUID]
    assert device.service_types == (ServiceType(f"{SWITCH}:1"),)
    assert plugin.max_age == 900


def test_a_service_may_be_a_table() -> None:
    service = {"type": f"{SWITCH}:1", "scpd": "switch.xml", "control": "http://{address}:8080/control"}
    (device,) = read(devices=[{**DEVICE, "services": [service]}]).devices
    assert device.service_types[0].scpd == Path("/etc/responderd/switch.xml")


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"uuid": ""}, "devices[0].uuid", "expected a UUID"),
        ({"uuid": "lamp::x"}, "devices[0].uuid", "expected a UUID"),
        ({"uuid": "x" * 65}, "devices[0].uuid", "expected a UUID"),
        ({"headers": {"a b": "c"}}, "devices[0].headers", "'a b' can't be the name"),
        ({"headers": {"USN": "c"}}, "devices[0].headers", "said by the plugin itself"),
        ({"headers": {"a": "c\r\nd: e"}}, "devices[0].headers", "a: expected printable text"),
        ({"headers": {"a": "b", "A": "c"}}, "devices[0].headers", "A is there twice"),
        (
            {"devices": [{**INNER, "headers": {"a": "b"}}]},
            "devices[0].devices[0].headers",
            "has none but its root",
        ),
        ({"uuid": f"{ROOT_UUID}\r\nX: y"}, "devices[0].uuid", "expected a UUID"),
        ({"type": f"{SWITCH}:1"}, "devices[0].type", "expected a type such as urn:schemas-upnp-org:device"),
        ({"type": f"{BASIC}"}, "devices[0].type", "expected a type"),
        (
            {"services": [f"{SWITCH}:1", f"{BASIC}:1"]},
            "devices[0].services[1]",
            "expected a type such as urn:schemas-upnp-org:service",
        ),
        ({"services": [f"{SWITCH}:1", f"{SWITCH}:2"]}, "devices[0].services", "twice"),
        ({"location": "device.xml"}, "devices[0].location", "begins with http://"),
        ({"location": "http://{adress}/"}, "devices[0].location", "expected a URL, with {address}"),
        ({"location": "http://x/\r\nX: y"}, "devices[0].location", "expected a URL"),
        ({"friendly_name": "a\nb"}, "devices[0].friendly_name", "printable"),
        ({"frendly_name": "a"}, "devices[0].frendly_name", "friendly_name"),
        ({"description": "own.xml"}, "devices[0]", "only where location is left out"),
        ({"devices": [DEVICE]}, "devices[0].devices[0].uuid", "twice: devices[0]"),
        ({"devices": [{**DEVICE, "uuid": EMBEDDED_UUID}]}, "devices[0].devices[0].location", "embedded"),
        ({"devices": [{**DEVICE, "services": ["x"]}]}, "devices[0].devices[0].services[0]", "expected a type"),
        ({"friendly_name": " "}, "devices[0].friendly_name", "expected some text"),
        ({"manufacturer": ""}, "devices[0].manufacturer", "expected some text"),
    ],
)
def test_mistakes_in_a_device(changes: dict[str, object], path: str, message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read(devices=[{**DEVICE, **changes}])
    assert any(error.path == path and message in error.message for error in caught.value.errors), str(caught.value)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"devices": []}, "devices"),
        ({}, "devices"),
        ({"devices": [DEVICE], "max_age": 5}, "max_age"),
        ({"devices": [DEVICE], "server": "x\r\ny"}, "server"),
    ],
)
def test_mistakes_in_the_rest(options: dict[str, object], path: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read(**options)
    assert [error.path for error in caught.value.errors] == [path]

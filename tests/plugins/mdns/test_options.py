"""Options, as operators write them: what they mean, and what is told of mistakes."""

from __future__ import annotations

from typing import Any

import pytest
from responder_plugins.mdns import Mdns
from responder_plugins.mdns.options import Offer

from responder import ConfigErrors
from responder.testing import instances

from .support import PAGE, mdns


def test_the_config_of_the_readme() -> None:
    (instance,) = instances("""
        [plugins.mdns]
        host = "lab"
        [[plugins.mdns.services]]
        name = "Lab page"
        type = "_http._tcp"
        port = 8080
        txt = { path = "/", flag = true, raw = { base64 = "AP8=" } }
        subtypes = ["_printer"]
        [[plugins.mdns.services]]
        name = "Cam"
        type = "_rtsp._tcp"
        port = 554
        host = "other.local"
        addresses = ["192.0.2.7", "2001:db8::7"]
    """)
    plugin = instance.plugin
    assert isinstance(plugin, Mdns)
    first, second = plugin.offered
    assert first.txt_rdata == b"\6path=/\4flag\6raw=\0\xff"
    assert second.txt_rdata == b"\0"
    assert second.host_label == "other"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"host": "a.b"}, "host: expected a name without dots"),
        ({"host": "x" * 64}, "host: expected 1..63 bytes of UTF-8, got 64"),
        ({"host": ""}, "services: one without `host` is on this host, which has no name"),
        ({"services": [{**PAGE, "name": "x" * 64}]}, "services[0].name: expected 1..63 bytes"),
        ({"services": [{**PAGE, "name": "a\nb"}]}, "services[0].name: expected text without control characters"),
        ({"services": [{**PAGE, "type": "http"}]}, "services[0].type: expected a type such as _http._tcp"),
        ({"services": [{**PAGE, "type": "_http._sctp"}]}, "services[0].type: expected a type"),
        ({"services": [{**PAGE, "port": 65536}]}, "services[0].port: expected a port"),
        ({"services": [{**PAGE, "txt": {"a=b": "x"}}]}, "without '='"),
        ({"services": [{**PAGE, "txt": {"a": False}}]}, "services[0].txt.a: expected text, true"),
        ({"services": [{**PAGE, "txt": {"a": 1}}]}, "services[0].txt.a: expected"),
        ({"services": [{**PAGE, "txt": {"a": "x" * 254}}]}, "255 bytes at most, this one 256"),
        ({"services": [{**PAGE, "txt": {"a": "x", "A": "y"}}]}, "services[0].txt.A: the key is there twice"),
        ({"services": [{**PAGE, "txt": {"a": {"base64": "%"}}}]}, "services[0].txt.a.base64: expected base64"),
        ({"services": [{**PAGE, "txt": {f"k{n}": "x" * 250 for n in range(40)}}]}, "8192 are the most"),
        ({"services": [{**PAGE, "subtypes": [""]}]}, "services[0].subtypes: expected 1..63 bytes"),
        ({"services": [{**PAGE, "addresses": ["192.0.2.7"]}]}, "services[0]: addresses: they are those of `host`"),
        ({"services": [{**PAGE, "host": "a..b"}]}, "services[0].host: expected a host's name"),
        ({"services": [{**PAGE, "host": "a.org", "addresses": ["192.0.2.7"]}]}, "expected a name in local"),
        ({"services": [{**PAGE, "host": "a.local", "addresses": ["224.0.0.1"]}]}, "that others can reach"),
        ({"services": [PAGE, {**PAGE, "name": "LAB PAGE"}]}, "services[1].name: _http._tcp has it twice, first at [0]"),
        ({"services": [{"name": "x", "type": "_http._tcp"}]}, "services[0].port"),
    ],
)
def test_mistakes_are_told_with_their_place(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors) as raised:
        mdns(**changed)
    assert message in str(raised.value)


def test_nothing_has_to_be_said() -> None:
    (instance,) = instances("[plugins.mdns]\n")
    assert instance.plugin == Mdns()


def test_this_host_may_be_named() -> None:
    plugin = mdns(services=[{**PAGE, "host": "LAB.local", "addresses": ["192.0.2.7"]}])
    (service,) = Offer.of("lab", plugin.offered).services
    assert (service.host, service.addresses) == ("", ())

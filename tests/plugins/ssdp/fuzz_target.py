"""What `tests.fuzz` gives to ssdp, and how it judges."""

from __future__ import annotations

from responder_plugins.ssdp.message import read_search
from responder_plugins.ssdp.targets import Index, Root, matches_of
from responder_plugins.ssdp.writer import Writer

from responder import PeerError
from tests.fakes import LAN

from .support import BASIC, EMBEDDED_UUID, LAMP, ROOT_UUID, SWITCH, search

SEEDS = (
    search("ssdp:all", mx=3),
    search(f"{BASIC}:1"),
    search(f"{SWITCH}:2", mx=None),
    search(f"uuid:{EMBEDDED_UUID.upper()}"),
    b"\r\n" + search("upnp:rootdevice", mx=300, **{"USER-AGENT": "x/1 UPnP/2.0 y/2"}),
    search().replace(b"\r\n", b"\n"),
    b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNTS: ssdp:alive\r\n\r\n",
)
WORDS = (
    b"M-SEARCH * HTTP/1.1\r\n|NOTIFY * HTTP/1.1\r\n|HTTP/1.1 200 OK\r\n|HOST: 239.255.255.250:1900\r\n|"
    b'MAN: "ssdp:discover"\r\n|MX: |ST: |NT: |USN: |TCPPORT.UPNP.ORG: |CPFN.UPNP.ORG: |CACHE-CONTROL: max-age=|'
    b"ssdp:all|upnp:rootdevice|uuid:|urn:schemas-upnp-org:|:device:|:service:"
).split(b"|")

INDEX = Index(matches_of(LAMP, Root(ROOT_UUID, None, 7)))
WRITER = Writer("server", 1800, 1900, 49200, 1)


def answered(payload: bytes) -> bytes | None:
    """The first answer, once judged.  Raises AssertionError for one that would not be right."""
    try:
        found = read_search(payload)
    except PeerError:
        return None
    if found is None:
        return None
    assert found.mx is None or 0 <= found.mx <= 5
    answers = [WRITER.answer(match, LAN.addresses[0].address) for match in INDEX.find(found.target)]
    for answer in answers:
        head = answer.decode().split("\r\n")
        assert head[-2:] == ["", ""]
        assert all(": " in line or line == "EXT:" for line in head[1:-2]), "no field was put in"
        if found.target.lower() != "ssdp:all":
            assert f"ST: {found.target}" in head
    return answers[0] if answers else None

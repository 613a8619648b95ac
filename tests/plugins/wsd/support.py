"""What the tests of wsd share: messages as others send them, and answers taken apart by another reader."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import attrs
from responder_plugins.wsd import Wsd

UUID = "2fac1234-31f8-41b4-a222-08002b34c003"
LAB = Wsd("lab", uuid=UUID)
GROUP4, GROUP6 = "239.255.255.250", "ff02::c"
STARTED = 3.0
"""Seconds after which all Hellos are said."""

SOAP = "http://www.w3.org/2003/05/soap-envelope"


@attrs.frozen
class Names:
    """The namespaces of a version."""

    wsd: str
    wsa: str
    wsdp: str
    to: str
    anonymous: str


OLD = Names(
    "http://schemas.xmlsoap.org/ws/2005/04/discovery",
    "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "http://schemas.xmlsoap.org/ws/2006/02/devprof",
    "urn:schemas-xmlsoap-org:ws:2005:04:discovery",
    "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous",
)
NEW = Names(
    "http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01",
    "http://www.w3.org/2005/08/addressing",
    "http://docs.oasis-open.org/ws-dd/ns/dpws/2009/01",
    "urn:docs-oasis-open-org:ws-dd:ns:discovery:2009:01",
    "http://www.w3.org/2005/08/addressing/anonymous",
)


def envelope(kind: str, body: str, *, names: Names = OLD, ident: str = "urn:uuid:1", header: str = "") -> bytes:
    """As Windows sends it, by what Debian's wsdd and its tests have of it."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<soap:Envelope xmlns:soap="{SOAP}" xmlns:wsa="{names.wsa}" xmlns:wsd="{names.wsd}" xmlns:wsdp="{names.wsdp}">'
        f"<soap:Header><wsa:To>{names.to}</wsa:To><wsa:Action>{names.wsd}/{kind}</wsa:Action>"
        f"<wsa:MessageID>{ident}</wsa:MessageID>{header}</soap:Header>"
        f"<soap:Body>{body}</soap:Body></soap:Envelope>"
    ).encode()


def probe(
    types: str | None = "wsdp:Device", scopes: str = "", *, names: Names = OLD, ident: str = "urn:uuid:1"
) -> bytes:
    wanted = "" if types is None else f"<wsd:Types>{types}</wsd:Types>"
    return envelope("Probe", f"<wsd:Probe>{wanted}{scopes}</wsd:Probe>", names=names, ident=ident)


def resolve(endpoint: str = f"urn:uuid:{UUID}", *, names: Names = OLD, ident: str = "urn:uuid:1") -> bytes:
    reference = f"<wsa:EndpointReference><wsa:Address>{endpoint}</wsa:Address></wsa:EndpointReference>"
    return envelope("Resolve", f"<wsd:Resolve>{reference}</wsd:Resolve>", names=names, ident=ident)


def get(endpoint: str = f"urn:uuid:{UUID}", *, names: Names = OLD, ident: str = "urn:uuid:7") -> bytes:
    return (
        envelope("x", "", names=names, ident=ident)
        .replace(f"{names.wsd}/x".encode(), b"http://schemas.xmlsoap.org/ws/2004/09/transfer/Get")
        .replace(names.to.encode(), endpoint.encode())
    )


@attrs.frozen
class Said:
    """A message of ours, read by ElementTree."""

    names: Names
    root: ET.Element

    @classmethod
    def of(cls, payload: bytes) -> Said:
        root = ET.fromstring(payload)  # noqa: S314 - our own
        found = [names for names in (OLD, NEW) if root.find(f".//{{{names.wsa}}}Action") is not None]
        assert len(found) == 1
        return cls(found[0], root)

    def text(self, name: str) -> str:
        """The text of the only element of that name: "wsd:Types"."""
        prefix, _, local = name.partition(":")
        (element,) = self.root.iter(f"{{{getattr(self.names, prefix)}}}{local}")
        return element.text or ""

    @property
    def kind(self) -> str:
        action = self.text("wsa:Action")
        assert action.startswith(f"{self.names.wsd}/")
        return action.removeprefix(f"{self.names.wsd}/")

    @property
    def sequence(self) -> tuple[int, int]:
        (element,) = self.root.iter(f"{{{self.names.wsd}}}AppSequence")
        return int(element.attrib["InstanceId"]), int(element.attrib["MessageNumber"])

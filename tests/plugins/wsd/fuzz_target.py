"""What `tests.fuzz` gives to wsd, and how it judges: datagrams, and what is posted to its HTTP server."""

from __future__ import annotations

from ipaddress import ip_address
from xml.etree import ElementTree as ET

import attrs
from responder_plugins.wsd.handler import WsdHandler
from responder_plugins.wsd.identity import Identity
from responder_plugins.wsd.message import Probe, Resolve, Writer, read_message
from responder_plugins.wsd.metadata import answer_get
from responder_plugins.wsd.soap import MAX_MESSAGE

from responder import PeerError

from .support import LAB, NEW, OLD, UUID, envelope, get, probe, resolve

SEEDS = (
    probe(),
    probe(None, names=NEW),
    probe("wsdp:Device", '<wsd:Scopes MatchBy="x">http://x/y</wsd:Scopes>'),
    resolve(),
    resolve(names=NEW),
    get(),
    get(names=NEW),
    envelope("Hello", "<wsd:Hello/>"),
)
WORDS = (
    *(each.encode() for each in (*attrs.astuple(OLD), *attrs.astuple(NEW))),
    *b"<wsa:Action> <wsa:MessageID> <wsa:To> <wsa:Address> <wsa:ReplyTo> <wsa:EndpointReference>".split(),
    *b"<wsd:Types> <wsd:Scopes MatchBy= <wsd:AppSequence mustUnderstand= xmlns:x= urn:uuid: wsdp:Device".split(),
    *b"<?xml version='1.0' encoding='utf-16'?>|<!DOCTYPE x [|<!ENTITY x 'y'>|&x;|]]>|<![CDATA[".split(b"|"),
)

HANDLER = WsdHandler(LAB)
IDENTITY = Identity(UUID, 1)
WRITER = Writer(1)
ADDRESS = ip_address("192.0.2.1")


def answered(payload: bytes) -> bytes | None:
    """The answer, once judged.  Raises AssertionError for one that would not be right."""
    try:
        if b"transfer/Get" in payload:
            answer = answer_get(payload, LAB, IDENTITY.endpoint)
            ET.fromstring(answer)  # noqa: S314 - our own
            return answer
        message = read_message(payload)
    except PeerError:
        return None
    assert len(payload) <= MAX_MESSAGE
    if not isinstance(message, Probe | Resolve) or not HANDLER._is_meant(message, IDENTITY):
        return None
    answer = WRITER.matches(message, HANDLER.match(ADDRESS, message.version, IDENTITY))
    root = ET.fromstring(answer)  # noqa: S314 - our own
    (related,) = root.iter(f"{{{message.version.addressing}}}RelatesTo")
    assert " ".join((related.text or "").split()) == " ".join(message.message_id.split())
    return answer

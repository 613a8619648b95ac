"""What the tests of sntp share: requests and answers, written and read by the figures of RFC 5905 alone."""

from __future__ import annotations

import struct

import attrs
from responder_plugins.sntp import Sntp
from responder_plugins.sntp.handler import SntpHandler

from responder import Context, Datagram, Interface, Peer, Via

EPOCH = 2_208_988_800
TRANSMIT = b"\xde\xad\xbe\xef\x01\x02\x03\x04"


def request(first: int = 0x23, *, poll: int = 6, transmit: bytes = TRANSMIT, behind: bytes = b"") -> bytes:
    """A client's request; by default of version 4 and mode 3, with a transmit timestamp that is no time."""
    return bytes([first, 0, poll, 0xFA]) + bytes(36) + transmit + behind


@attrs.frozen
class Told:
    """An answer's fields; times in seconds since 1900, modulo an era."""

    leap: int
    version: int
    mode: int
    stratum: int
    poll: int
    precision: int
    root_delay: float
    root_dispersion: float
    reference: bytes
    reference_time: float
    originate: bytes
    receive: float
    transmit: float


def told(answer: bytes) -> Told:
    first, stratum, poll, precision, delay, dispersion, reference, since, originate, receive, transmit = struct.unpack(
        "!BBbbII4sQ8sQQ", answer[:48]
    )
    return Told(
        first >> 6,
        first >> 3 & 7,
        first & 7,
        stratum,
        poll,
        precision,
        delay / 65536,
        dispersion / 65536,
        reference,
        since / 2**32,
        originate,
        receive / 2**32,
        transmit / 2**32,
    )


def handler_of(**options: object) -> SntpHandler:
    plugin = Sntp(**{"trust": "always", **options})  # type: ignore[arg-type] # the options' own types
    handler = plugin.prepare(Context("sntp"))
    assert isinstance(handler, SntpHandler)
    return handler


def request_for(payload: bytes, interface: Interface, *, via: Via = Via.UNICAST) -> Datagram:
    return Datagram(payload, Peer("10.71.0.9", 40000), "10.71.0.1", interface, port=123, via=via)

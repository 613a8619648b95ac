"""What the tests of NBNS share: requests as other implementations send them, put together by hand."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from responder_plugins.nbns import Nbns
from responder_plugins.nbns.handler import NbnsHandler

from responder import Datagram, Interface, Peer, Via

REGISTERED = 2.0
"""Seconds after which the names that nobody else has are registered."""

NB, NBSTAT = 0x20, 0x21
LIMITED = "255.255.255.255"


def half_ascii(text: str, suffix: int = 0, *, scope: bytes = b"", padding: str = " ") -> bytes:
    data = text.encode().ljust(15, padding.encode()) + bytes([suffix])
    letters = "".join(chr(0x41 + (byte >> 4)) + chr(0x41 + (byte & 15)) for byte in data)
    return b"\x20" + letters.encode() + scope + b"\0"


def query(name: str = "LAB", suffix: int = 0, *, ident: int = 0x4242, kind: int = NB, flags: int = 0x0110) -> bytes:
    """As nmblookup sends it: recursion desired, broadcast."""
    wire = half_ascii(name, suffix, padding="\0" if name == "*" else " ")
    return struct.pack("!6H", ident, flags, 1, 0, 0, 0) + wire + struct.pack("!HH", kind, 1)


def status(name: str = "*", ident: int = 0x4242) -> bytes:
    return query(name, ident=ident, kind=NBSTAT, flags=0)


def registration(
    name: str = "LAB", suffix: int = 0, *, group: bool = False, address: str = "192.0.2.9", opcode: int = 5
) -> bytes:
    head = struct.pack("!6H", 0x4343, opcode << 11 | 0x0110, 1, 0, 0, 1) + half_ascii(name, suffix)
    record = struct.pack("!HHHIHH", 0xC00C, NB, 1, 0, 6, 0x8000 if group else 0) + ip_address(address).packed
    return head + struct.pack("!HH", NB, 1) + record


def refusal(claim: bytes, rcode: int = 6, address: str = "192.0.2.9") -> bytes:
    """What who has the name answers to a registration."""
    head = claim[:2] + struct.pack("!5H", 0x8000 | 5 << 11 | 0x0580 | rcode, 0, 1, 0, 0)
    return head + claim[12:46] + struct.pack("!HHIHH", NB, 1, 0, 6, 0) + ip_address(address).packed


def handler_of(*names: str, workgroup: str = "WORKGROUP") -> NbnsHandler:
    return NbnsHandler.of(Nbns(names or ("LAB",), workgroup))


def request_for(payload: bytes, interface: Interface, *, destination: str = "10.71.0.255") -> Datagram:
    via = Via.BROADCAST if destination.endswith(".255") else Via.UNICAST
    peer = Peer("fe80::9" if ip_address(destination).version == 6 else "10.71.0.9", 137)
    return Datagram(payload, peer, destination, interface, port=137, via=via)

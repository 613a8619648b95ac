"""What the tests of LLMNR share: queries and responses as other implementations send them."""

from __future__ import annotations

from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rdatatype
from responder_plugins.llmnr import Llmnr
from responder_plugins.llmnr.handler import LlmnrHandler

from responder import Datagram, Interface, Peer, Via

GROUP4, GROUP6 = "224.0.0.252", "ff02::1:3"

T, TC, C = dns.flags.RD, dns.flags.TC, dns.flags.AA
"""LLMNR's bits by DNS's names of the same bits."""

VERIFIED = 5.0
"""Seconds after which a name that nobody else has is verified."""


def query(name: str = "lab", kind: str = "A", *, ident: int = 7, flags: int = 0, **edns: int) -> bytes:
    message = dns.message.make_query(name, kind, id=ident, flags=0, **edns)  # type: ignore[arg-type] # EDNS's numbers
    message.flags |= flags
    return message.to_wire()


def response_to(payload: bytes, *, flags: int = 0, ttl: int = 30, address: str = "192.0.2.9") -> bytes:
    """What another host answers that has the name too."""
    asked = dns.message.from_wire(payload)
    text = "\n".join(
        [
            f"id {asked.id}",
            "opcode QUERY",
            "rcode NOERROR",
            "flags QR",
            ";QUESTION",
            asked.question[0].to_text(),
            ";ANSWER",
            f"{asked.question[0].name} {ttl} IN A {address}",
        ]
    )
    message = dns.message.from_text(text)
    message.flags |= flags
    return message.to_wire()


def records(payload: bytes) -> list[str]:
    """The answer section as "TYPE data"."""
    message = dns.message.from_wire(payload)
    return [f"{dns.rdatatype.to_text(rrset.rdtype)} {rdata}" for rrset in message.answer for rdata in rrset]


def flags_of(payload: bytes) -> int:
    return int(dns.message.from_wire(payload).flags)


def handler_of(*names: str) -> LlmnrHandler:
    return LlmnrHandler.of(Llmnr(names or ("lab",)))


def request_for(payload: bytes, interface: Interface, *, destination: str = GROUP4) -> Datagram:
    """From a neighbour on the interface's first subnet."""
    via = Via.MULTICAST if ip_address(destination).is_multicast else Via.UNICAST
    peer = Peer(interface.addresses[0].network[9], 40000)
    return Datagram(payload, peer, destination, interface, port=5355, via=via)

"""A handler of the dns plugin asked without a network: what the tests of answers share."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import dns.message
from responder_plugins.dns import Dns
from responder_plugins.dns.handler import DnsHandler

from responder import Context, Datagram, Interface, InterfaceAddress, Peer

ZONE = Path(__file__).with_name("example.test.zone")

LINK = Interface(
    2,
    "link1",
    addresses=(
        InterfaceAddress("10.71.0.1", 24),
        InterfaceAddress("10.71.0.2", 24),
        InterfaceAddress("fd71::1", 64),
        InterfaceAddress("fe80::1", 64),
    ),
)

SMALL = """$TTL 300
@ SOA ns h 1 2 3 4 60
@ NS ns
ns A 192.0.2.53
www A 192.0.2.80
"""


def handler_of(folder: Path = ZONE.parent, *, state: Path | None = None, **options: Any) -> DnsHandler:
    """A handler; by default of example.test.zone."""
    options.setdefault("zones", {"example.test": ZONE})
    if "allow_transfer" in options:
        options["allow_transfer"] = tuple(map(ip_network, options["allow_transfer"]))
    handler = Dns(**options).prepare(Context("dns", folder, state))
    assert isinstance(handler, DnsHandler)
    return handler


def request(payload: bytes, destination: str = "10.71.0.2", *, peer: str = "10.71.0.9", **more: Any) -> Datagram:
    return Datagram(payload, Peer(peer, 40000), destination, more.pop("interface", LINK), port=53, **more)


def ask_bytes(handler: DnsHandler, payload: bytes, destination: str = "10.71.0.2", **more: Any) -> bytes:
    answer = handler.respond_last(request(payload, destination, **more))
    assert isinstance(answer, bytes)
    return answer


def ask(
    handler: DnsHandler, query: dns.message.Message, destination: str = "10.71.0.2", **more: Any
) -> dns.message.Message:
    reply = dns.message.from_wire(ask_bytes(handler, query.to_wire(), destination, **more))
    assert query.is_response(reply)
    return reply


def texts(section: list[Any]) -> list[str]:
    """A section's records as "name TTL type rdata"."""
    return [line for rrset in section for line in rrset.to_text().replace(" IN ", " ").splitlines()]

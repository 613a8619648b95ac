"""The command `responderd llmnr query`: who on the links answers for a name, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from secrets import randbits
from typing import ClassVar, Final

import attrs
import click

from responder import Answer, Datagram, Interface, IPAddress, Network, PeerError, Service

from ..shared import dns_message as dns
from ..shared.command import Asker, ask, interface_option, json_option, printable, show
from ..shared.links import Place
from . import wire_name
from .message import PORT, read_response, reverse_name, write_query
from .verifier import JITTER, TIMEOUT, TRANSMISSIONS, places_of

TYPES: Final = {"A": dns.A, "AAAA": dns.AAAA, "PTR": dns.PTR, "ANY": dns.ANY}


@attrs.frozen(order=True)
class Found:
    """A record, or a response without any: by which interface, from which address, what, and the response's bits."""

    interface: str
    address: str
    name: str
    type: str
    data: str
    flags: str


@attrs.frozen(eq=False)
class Querier(Asker):
    """Asks for one name (in wire form) and type on every interface."""

    name: bytes
    rdtype: int
    ident: int = attrs.field(factory=lambda: randbits(16))

    services: ClassVar[tuple[Service, ...]] = (Service(port=0, hop_limit=255, on_link=True),)

    def places(self, interface: Interface) -> Mapping[Place, IPAddress]:
        return places_of(interface)

    def respond(self, request: Datagram) -> Answer:
        """Take a response.  Raises PeerError for what does not answer this query."""
        response = read_response(request.payload)
        if response.ident != self.ident or response.question.name.lower() != self.name.lower() or response.rcode:
            raise PeerError("no response to this query")
        bits = {"tentative": response.tentative, "conflict": response.conflict, "truncated": response.truncated}
        flags = ",".join(bit for bit, is_set in bits.items() if is_set)
        origin = request.interface.name, str(request.peer.address)
        for record in response.answers:
            self.keep(Found(*origin, _text(record.name), _type(record.rdtype), _data(record), flags))
        if not response.answers:
            self.keep(Found(*origin, _text(response.question.name), _type(response.question.rdtype), "", flags))
        return None

    async def run(self, network: Network) -> None:
        """Ask, and wait for the responses."""
        query = write_query(self.ident, self.name, self.rdtype)
        await self.ask_everywhere(
            network, lambda _: query, PORT, times=TRANSMISSIONS, between=JITTER * 2, wait=TIMEOUT + JITTER
        )


def _text(name: bytes) -> str:
    return printable(".".join(label.decode(errors="replace") for label in dns.labels(name)))


def _type(rdtype: int) -> str:
    return next((text for text, number in TYPES.items() if number == rdtype), str(rdtype))


def _data(record: dns.Record) -> str:
    if len(record.rdata) == {dns.A: 4, dns.AAAA: 16}.get(record.rdtype):
        return str(ip_address(record.rdata))
    return _text(record.rdata) if record.rdtype == dns.PTR else record.rdata.hex()


@click.group()
def llmnr() -> None:
    """Ask for names on the links, as Windows does."""


@llmnr.command()
@click.argument("name")
@click.option(
    "--type",
    "rdtype",
    type=click.Choice(tuple(TYPES), case_sensitive=False),
    help="What to ask for; by default ANY, and PTR for an address.",
)
@interface_option
@json_option
def query(name: str, rdtype: str | None, interfaces: tuple[str, ...], as_json: bool) -> None:
    """Ask all links for NAME, a name or an address, and show who answers what."""
    try:
        wire, default = reverse_name(ip_address(name)), "PTR"
    except ValueError:
        try:
            wire, default = wire_name(name), "ANY"
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="NAME") from None
    found = ask(Querier(wire, TYPES[(rdtype or default).upper()]), interfaces)
    show(("interface", "address", "name", "type", "data", "flags"), found, as_json=as_json)

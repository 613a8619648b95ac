"""The commands `responderd nbns query` and `status`: who on the links has a NetBIOS name, and what names a host has."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from secrets import randbits
from typing import Final

import attrs
import click

from responder import Answer, Datagram, Interface, IPAddress, Network, Peer, PeerError

from ..shared.command import Asker, ask, interface_option, json_option, printable, show
from ..shared.links import Place
from .announcer import CLAIM_WAIT, CLAIMS, places_of
from .message import (
    ANY,
    LENGTH,
    NB,
    NBSTAT,
    PORT,
    QUERY,
    Name,
    Response,
    read,
    read_status,
    write_query,
)

WAIT: Final = 1.0
"""Seconds that answers may take after the last request."""


@attrs.frozen(order=True)
class Found:
    """A host that has the name: by which interface, from which address, the name, the address that it told, kind."""

    interface: str
    address: str
    name: str
    data: str
    kind: str


@attrs.frozen(order=True)
class Status:
    """A name of a host, and the host's hardware address."""

    address: str
    name: str
    kind: str
    link_address: str


def _text(name: Name) -> str:
    return printable(str(name))


def _kind(is_group: bool) -> str:
    return "group" if is_group else "unique"


@attrs.frozen(eq=False)
class Querier(Asker):
    """Asks for a name by broadcast on every subnet."""

    name: Name
    ident: int = attrs.field(factory=lambda: randbits(16))

    def places(self, interface: Interface) -> Mapping[Place, IPAddress]:
        return places_of(interface)

    def respond(self, request: Datagram) -> Answer:
        """Take a positive response.  Raises PeerError for what does not answer this query."""
        response = _response(request, self.ident, NB)
        if response.name != self.name or response.rcode:
            raise PeerError("no positive response to this query")
        rdata = response.rdata
        for at in range(0, len(rdata) - 5, 6):
            told = str(IPv4Address(rdata[at + 2 : at + 6]))
            kind = _kind(bool(rdata[at] & 0x80))
            self.keep(Found(request.interface.name, str(request.peer.address), _text(self.name), told, kind))
        return None

    async def run(self, network: Network) -> None:
        """Ask, and wait for the answers."""
        query = write_query(self.ident, self.name, broadcast=True)
        await self.ask_everywhere(network, lambda _: query, PORT, times=CLAIMS, between=CLAIM_WAIT, wait=WAIT)


@attrs.frozen(eq=False)
class StatusAsker(Asker):
    """Asks one host for its names; `by_route` is that of `ask_host`."""

    host: IPv4Address
    by_route: bool = attrs.field(default=True, kw_only=True)
    ident: int = attrs.field(factory=lambda: randbits(16))

    def respond(self, request: Datagram) -> Answer:
        """Take the status.  Raises PeerError for what does not answer this request."""
        response = _response(request, self.ident, NBSTAT)
        if request.peer.address != self.host:
            raise PeerError("not the host that was asked")
        names, link_address = read_status(response.rdata)
        for owned in names:
            self.keep(Status(str(self.host), _text(owned.name), _kind(owned.is_group), link_address.hex(":")))
        self.done.set()
        return None

    async def run(self, network: Network) -> None:
        """Ask, and wait for the answer."""
        query = write_query(self.ident, ANY, NBSTAT, broadcast=False)
        to = Peer(self.host, PORT)
        await self.ask_host(network, query, to, by_route=self.by_route, times=CLAIMS, between=WAIT)


def _response(request: Datagram, ident: int, rdtype: int) -> Response:
    message = read(request.payload)
    if (
        not isinstance(message, Response)
        or message.ident != ident
        or message.opcode != QUERY
        or message.rdtype != rdtype
    ):
        raise PeerError("no response to this request")
    return message


@click.group()
def nbns() -> None:
    """Ask for NetBIOS names on the links, as Windows does."""


class _Suffix(click.ParamType):  # type: ignore[type-arg] # generic for type checkers alone
    name = "hexadecimal"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            suffix = int(str(value), 16)
        except ValueError:
            suffix = -1
        if not 0 <= suffix <= 0xFF:
            self.fail(f"expected 00 to ff, got {value!r}", param, ctx)
        return suffix


@nbns.command()
@click.argument("name")
@click.option("--suffix", type=_Suffix(), default="00", show_default=True, help="The name's kind: 00, 03, 1e, 20, ...")
@interface_option
@json_option
def query(name: str, suffix: int, interfaces: tuple[str, ...], as_json: bool) -> None:
    """Ask all links for NAME, and show who has it."""
    text = name.upper().encode()
    if not 0 < len(text) <= LENGTH or not name.isascii() or not name.isprintable():
        raise click.BadParameter(f"expected 1 to {LENGTH} ASCII characters", param_hint="NAME")
    found = ask(Querier(Name(text, suffix)), interfaces)
    show(("interface", "address", "name", "data", "kind"), found, as_json=as_json)


@nbns.command()
@click.argument("address")
@interface_option
@json_option
def status(address: str, interfaces: tuple[str, ...], as_json: bool) -> None:
    """Ask the host at ADDRESS for its names and its hardware address."""
    try:
        host = IPv4Address(address)
    except ValueError:
        raise click.BadParameter("expected an IPv4 address", param_hint="ADDRESS") from None
    found = ask(StatusAsker(host, by_route=not interfaces), interfaces)
    show(("address", "name", "kind", "hardware address"), found, as_json=as_json)

"""The command `responderd ssdp search`: what is on the links, as a control point finds it (UDA 2.0 section 1.3.2).

What is found is not fetched: a LOCATION is anybody's to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import attrs
import click

from responder import Answer, Datagram, Interface, IPAddress, Network, PeerError, Service

from ..shared.command import Asker, ask, interface_option, json_option, printable, show
from ..shared.http import url_host
from ..shared.links import Place
from .announcer import places_of
from .message import read_message, write_search
from .targets import ALL

PORT: Final = 1900

NAME: Final = "responderd"
"""What a control point has to call itself (UDA 2.0 section 1.3.2, CPFN.UPNP.ORG)."""

SEARCHES: Final = 2
"""How often the search is sent, since datagrams get lost (section 1.3.2)."""

BETWEEN: Final = 0.3
"""Seconds between those."""

TRAVEL: Final = 0.5
"""Seconds more than MX that answers may take."""


@attrs.frozen(order=True)
class Found:
    """An answer: by which interface, from which address, what, and where its description is."""

    interface: str
    address: str
    usn: str
    location: str
    server: str


@attrs.frozen(eq=False)
class Searcher(Asker):
    """Searches on every interface."""

    target: str
    mx: int

    services: ClassVar[tuple[Service, ...]] = (Service(port=0, hop_limit=2),)

    def places(self, interface: Interface) -> Mapping[Place, IPAddress]:
        return places_of(interface)

    def respond(self, request: Datagram) -> Answer:
        """Take an answer.  Raises PeerError for what is no answer."""
        message = read_message(request.payload)
        if message.start.split()[:2] not in (["HTTP/1.1", "200"], ["HTTP/1.0", "200"]):
            raise PeerError("no answer to a search")
        texts = [printable(message.headers.get(name, "")) for name in ("usn", "location", "server")]
        self.keep(Found(request.interface.name, str(request.peer.address), *texts))
        return None

    async def run(self, network: Network) -> None:
        """Search, and wait for the answers."""

        def payload(place: Place) -> bytes:
            return write_search(f"{url_host(place[1]).upper()}:{PORT}", self.target, self.mx, NAME)

        await self.ask_everywhere(network, payload, PORT, times=SEARCHES, between=BETWEEN, wait=self.mx + TRAVEL)


@click.group()
def ssdp() -> None:
    """See the UPnP devices on the links."""


@ssdp.command()
@click.option("--st", "target", default=ALL, show_default=True, help="What to search for: a type, a UUID, ...")
@click.option(
    "--mx",
    type=click.IntRange(1, 5),
    default=2,
    show_default=True,
    help="Seconds within which devices answer.",
)
@interface_option
@json_option
def search(target: str, mx: int, interfaces: tuple[str, ...], as_json: bool) -> None:
    """Search all links, and show who answers: interface, address, USN, LOCATION, SERVER."""
    if not target.isprintable() or not target.strip():
        raise click.BadParameter("expected printable text", param_hint="--st")
    found = ask(Searcher(target.strip(), mx), interfaces)
    show(("interface", "address", "USN", "LOCATION", "SERVER"), found, as_json=as_json)

"""The command `responderd ssdp search`: what is on the links, as a table.

It searches as a control point does (UDA 2.0 section 1.3.2), through an instance of a plugin of its own, so that it asks
on every interface and knows by which one each answer came.  This file refuses to fetch what it finds: a LOCATION is
anybody's to write.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable
from typing import ClassVar, Final

import attrs
import click
import trio

from responder import Answer, Datagram, Network, Peer, PeerError, Plugin, ResponderError, SendError, Service, serve

from ..shared.http import url_host
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

MAX_FOUND: Final = 4096
"""Answers kept; anybody can send them."""


PIPE_WIDTH: Final = 10_000
"""Characters: nothing is cut off for a program that reads the table."""


@attrs.frozen(order=True)
class Found:
    """An answer: by which interface, from which address, what, and where its description is."""

    interface: str
    address: str
    usn: str
    location: str
    server: str


@attrs.frozen(eq=False)
class Searcher(Plugin):
    """Searches once on every interface; `found` holds the answers, `asked` the interfaces that took the search."""

    target: str
    mx: int
    found: dict[Found, None] = attrs.field(factory=dict, init=False)
    asked: set[int] = attrs.field(factory=set, init=False)
    done: trio.Event = attrs.field(factory=trio.Event, init=False)

    services: ClassVar[tuple[Service, ...]] = (Service(port=0, hop_limit=2),)

    def respond(self, request: Datagram) -> Answer:
        """Take an answer.  Raises PeerError for what is none."""
        message = read_message(request.payload)
        if message.start.split()[:2] not in (["HTTP/1.1", "200"], ["HTTP/1.0", "200"]):
            raise PeerError("no answer to a search")
        texts = [_printable(message.headers.get(name, "")) for name in ("usn", "location", "server")]
        if len(self.found) < MAX_FOUND:
            self.found[Found(request.interface.name, str(request.peer.address), *texts)] = None
        return None

    async def run(self, network: Network) -> None:
        """Search, and wait for the answers."""
        for _ in range(SEARCHES):
            for interface in network.interfaces:
                for index, group in places_of(interface):
                    payload = write_search(f"{url_host(group).upper()}:{PORT}", self.target, self.mx, NAME)
                    # A link that can't be asked has nothing to show; the others do.
                    with contextlib.suppress(SendError, ValueError):
                        await network.send(payload, to=Peer(group, PORT), interface=index)
                        self.asked.add(index)
            if not self.asked:
                break
            await trio.sleep(BETWEEN)
        else:
            await trio.sleep(self.mx + TRAVEL)
        self.done.set()


def _printable(text: str) -> str:
    """Without what a terminal would act on."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


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
@click.option("--interface", "interfaces", multiple=True, help="Only on interfaces of this pattern; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def search(target: str, mx: int, interfaces: tuple[str, ...], as_json: bool) -> None:
    """Search all links, and show who answers: interface, address, USN, LOCATION, SERVER."""
    if not target.isprintable() or not target.strip():
        raise click.BadParameter("expected printable text", param_hint="--st")
    try:
        found = sorted(trio.run(find, Searcher(target.strip(), mx), interfaces))
    except* ResponderError as group:
        raise click.ClickException("; ".join(map(str, group.exceptions))) from group
    if as_json:
        click.echo(json.dumps([attrs.asdict(each) for each in found], indent=2, ensure_ascii=False))
    else:
        _print(found)


async def find(searcher: Searcher, interfaces: tuple[str, ...]) -> Iterable[Found]:
    """Search once on the interfaces that match; none given: on all.

    Raises ConfigErrors, and ClickException where there is no interface to search on.
    """
    async with serve(searcher, interfaces=interfaces):
        await searcher.done.wait()
    if not searcher.asked:
        which = f"matches {' or '.join(interfaces)}, is up" if interfaces else "is up"
        raise click.ClickException(f"no interface {which} and takes multicast: see `responderd interfaces`")
    return searcher.found


def _print(found: Iterable[Found]) -> None:
    from rich import box  # noqa: PLC0415 - JSON has no table
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table("interface", "address", "USN", "LOCATION", "SERVER", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for each in found:
        table.add_row(*attrs.astuple(each))
    # A pipe has no width, and what devices say is neither markup nor emoji codes.
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    Console(markup=False, emoji=False, highlight=False, width=width).print(table)

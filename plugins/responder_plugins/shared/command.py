"""Commands that ask the links of this host and show who answers: what `mdns`, `ssdp`, `llmnr`, `nbns` and `wsd` share.

A question is asked through an instance of a plugin, so that it goes out of every interface, and each answer says by
which interface it came.  What peers send is shown without what a terminal would act on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs
import click
import trio

from responder import Interface, IPAddress, Network, Peer, Plugin, ResponderError, SendError, Service, serve

from .links import Place

MAX_FOUND: Final = 4096
"""Answers kept; anybody can send them."""

PIPE_WIDTH: Final = 10_000
"""Characters: nothing is cut off for a program that reads the table."""


@attrs.frozen(eq=False)
class Asker(Plugin):
    """Asks, and collects answers in `found`.

    `asked` holds the interfaces that took the question, by index; 0 stands for the one that the routing table chose.
    """

    found: dict[Any, None] = attrs.field(factory=dict, init=False)
    asked: set[int] = attrs.field(factory=set, init=False)
    done: trio.Event = attrs.field(factory=trio.Event, init=False)

    services: ClassVar[tuple[Service, ...]] = (Service(port=0),)

    def places(self, interface: Interface) -> Mapping[Place, IPAddress]:
        """Where to ask on an interface."""
        raise NotImplementedError

    def keep(self, answer: object) -> None:
        """Note an answer, which must be hashable."""
        if len(self.found) < MAX_FOUND:
            self.found[answer] = None

    async def ask_everywhere(
        self,
        network: Network,
        payload: Callable[[Place], bytes],
        port: int,
        *,
        times: int,
        between: float,
        wait: float,
        ends: bool = True,
    ) -> None:
        """Ask at every place so many times, `between` seconds apart, and wait; then set `done` if that `ends` it."""
        for number in range(times):
            if number:
                await trio.sleep(between)
            for interface in network.interfaces:
                for place in self.places(interface):
                    try:
                        await network.send(payload(place), to=Peer(place[1], port), interface=place[0])
                    except SendError:
                        continue  # a link that can't be asked has nothing to show; the others do
                    self.asked.add(place[0])
        if self.asked:
            await trio.sleep(wait)
        if ends:
            self.done.set()

    async def ask_host(
        self, network: Network, payload: bytes, to: Peer, *, by_route: bool, times: int, between: float
    ) -> None:
        """Ask one host, so many times with so many seconds between, until `done` is set.

        `by_route`: as the routing table has it; else by each interface whose link the host is on.
        """
        for _ in range(times):
            ways = [None] if by_route else [each for each in network.interfaces if each.on_link(to.address)]
            for way in ways:
                try:
                    await network.send(payload, to=to, interface=way)
                except SendError:
                    continue
                self.asked.add(0 if way is None else way.index)
            if self.asked:
                with trio.move_on_after(between):
                    await self.done.wait()
                    return
        self.done.set()


def printable(text: str) -> str:
    """The text with a replacement for each character that a terminal would act on."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


interface_option = click.option(
    "--interface", "interfaces", multiple=True, help="Only on interfaces of this pattern; may be repeated."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


def no_interface(interfaces: Sequence[str]) -> click.ClickException:
    """What is wrong where no interface took the question."""
    which = f"matches {' or '.join(interfaces)}, is up" if interfaces else "is up"
    return click.ClickException(f"no interface {which} and can be asked on: see `responderd interfaces`")


def ask(asker: Asker, interfaces: tuple[str, ...]) -> list[Any]:
    """The answers, sorted, of the interfaces that match; none given: of all.

    Raises ClickException for what goes wrong, and where there is no interface to ask on.
    """
    try:
        trio.run(_serve, asker, interfaces)
    except* ResponderError as group:
        raise click.ClickException("; ".join(map(str, group.exceptions))) from group
    if not asker.asked:
        raise no_interface(interfaces)
    return sorted(asker.found)


async def _serve(asker: Asker, interfaces: tuple[str, ...]) -> None:
    async with serve(asker, interfaces=interfaces):
        await asker.done.wait()


def show(columns: Sequence[str], rows: Sequence[Any], *, as_json: bool) -> None:
    """Print attrs values as a table with these columns, or as JSON."""
    if as_json:
        print_json([attrs.asdict(row) for row in rows])
    else:
        print_table(columns, [tuple(map(str, attrs.astuple(row))) for row in rows])


def print_json(value: object) -> None:
    # In ASCII: some terminals act on the control characters beyond it too.
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A line break within a cell is one; nothing else that a terminal would act on is left."""
    from rich import box  # noqa: PLC0415 - JSON has no table
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*("\n".join(map(printable, cell.split("\n"))) for cell in row))
    # A pipe has no width, and what peers say is neither markup nor emoji codes.
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    Console(markup=False, emoji=False, highlight=False, width=width).print(table)

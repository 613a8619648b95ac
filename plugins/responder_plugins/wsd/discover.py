"""The command `responderd wsd discover`: what answers a Probe on the links.

What is found is not fetched: an address in an answer is anybody's to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final
from uuid import uuid4

import attrs
import click

from responder import Answer, Datagram, Interface, IPAddress, Network, PeerError

from ..shared.command import Asker, ask, interface_option, json_option, printable, show
from ..shared.links import Place
from . import TYPE
from .announcer import APP_MAX_DELAY, MAX_DELAY, MULTICAST_REPEAT, places_of
from .message import PORT, VERSIONS, Match, Matches, Version, read_message, write_probe

WAIT: Final = 2.0
"""Seconds that answers may take besides `APP_MAX_DELAY`."""


@attrs.frozen(order=True)
class Found:
    """An endpoint: by which interface and address it answered, what it is, and where it is reached."""

    interface: str
    address: str
    endpoint: str
    types: str
    xaddrs: str


@attrs.frozen(eq=False)
class Prober(Asker):
    """Probes on every interface for one version of WS-Discovery after the other."""

    types: tuple[str, ...] = ()
    # Some answer a message once that comes by IPv4 and IPv6, so each family has its own.
    message_ids: Mapping[tuple[Version, int], str] = attrs.field(
        factory=lambda: {(version, family): uuid4().urn for version in VERSIONS for family in (4, 6)}
    )

    def places(self, interface: Interface) -> Mapping[Place, IPAddress]:
        return places_of(interface)

    def respond(self, request: Datagram) -> Answer:
        """Take ProbeMatches.  Raises PeerError for what are none to these probes."""
        message = read_message(request.payload)
        if not isinstance(message, Matches) or message.relates_to not in self.message_ids.values():
            raise PeerError("no answer to these probes")
        for match in message.found:
            self.keep(_found(request, match))
        return None

    async def run(self, network: Network) -> None:
        """Probe, and wait for the answers."""
        last = VERSIONS[-1]

        def payload(version: Version, place: Place) -> bytes:
            return write_probe(version, self.message_ids[version, place[1].version], self.types)

        for version in VERSIONS:
            await self.ask_everywhere(
                network,
                partial(payload, version),
                PORT,
                times=1 + MULTICAST_REPEAT,
                between=MAX_DELAY,
                wait=APP_MAX_DELAY + WAIT if version is last else MAX_DELAY,
                ends=version is last,
            )


def _found(request: Datagram, match: Match) -> Found:
    types = " ".join(each.rpartition("}")[2] for each in match.types)
    texts = (match.endpoint, types, " ".join(match.xaddrs))
    return Found(request.interface.name, str(request.peer.address), *map(printable, texts))


@click.group()
def wsd() -> None:
    """See what WS-Discovery finds on the links."""


@wsd.command()
@click.option("--type", "types", multiple=True, help="Only what is of this {namespace}type; may be repeated.")
@interface_option
@json_option
def discover(types: tuple[str, ...], interfaces: tuple[str, ...], as_json: bool) -> None:
    """Probe all links, and show who answers: interface, address, endpoint, types, addresses."""
    for each in types:
        if not TYPE.fullmatch(each):
            raise click.BadParameter("expected {namespace}name", param_hint="--type")
    found = ask(Prober(types), interfaces)
    show(("interface", "address", "endpoint", "types", "xaddrs"), found, as_json=as_json)

"""Answers NetBIOS name queries and node status requests, and defends the names (RFC 1002 section 5.1.1).

Only names of this host are answered; a name is told with the address by which its asker reaches this host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Self

import attrs

from responder import PASS, Answer, Datagram, Exchange, Handler, Network, Via

from ..shared.refused import Refused, refusals_counted
from .announcer import Announcer
from .message import (
    ANY,
    ELECTION,
    MESSENGER,
    MULTIHOMED,
    NB,
    NBSTAT,
    OPERATIONS,
    QUERY,
    RCODE,
    REGISTRATION,
    RESPONSE,
    SERVER,
    TYPES,
    WORKSTATION,
    Name,
    Owned,
    Response,
    read,
    write_answer,
    write_refusal,
    write_status,
)

if TYPE_CHECKING:
    from . import Nbns


@attrs.define(eq=False)
class NbnsHandler(Handler):
    """Answers for the names of one instance; `names` has each by itself."""

    names: Mapping[Name, Owned]
    announcer: Announcer = attrs.field(init=False)
    counted: Counter[str] = attrs.field(factory=Counter, init=False)

    def __attrs_post_init__(self) -> None:
        self.announcer = Announcer(tuple(self.names.values()))

    @classmethod
    def of(cls, options: Nbns) -> Self:
        group = options.workgroup.upper().encode()
        owned = [
            *(
                Owned(Name(name.upper().encode(), suffix), is_group=False)
                for name in options.names
                for suffix in (WORKSTATION, MESSENGER, SERVER)
            ),
            *(Owned(Name(group, suffix), is_group=True) for suffix in (WORKSTATION, ELECTION)),
        ]
        return cls({each.name: each for each in owned})

    @refusals_counted
    def respond(self, request: Datagram) -> Answer:
        """Answer a request.  Raises PeerError for what is no request, has a scope, or came by IPv6."""
        message = read(request.payload)
        if request.peer.address.version == 6:
            raise Refused("NetBIOS knows IPv4 only", "ipv6")
        if isinstance(message, Response):
            self.announcer.hear(message, request.peer.address, request.interface.index)
            return None
        address: object = request.destination
        if request.via is not Via.UNICAST:
            address = request.interface.source_for(request.peer.address)
        if not isinstance(address, IPv4Address):
            return PASS
        index = request.interface.index
        if message.opcode == QUERY and message.rdtype == NBSTAT:
            names = [owned for owned in self.names.values() if self.announcer.owns(index, owned)]
            if names and (message.name == ANY or message.name in {owned.name for owned in names}):
                self.counted["status"] += 1
                return write_status(message, names, request.interface.link_address)
        owned = self.names.get(message.name)
        if owned is None or not self.announcer.owns(index, owned):
            self.counted["not-here"] += 1
            return PASS
        if message.opcode == QUERY and message.rdtype == NB:
            self.counted["taken"] += 1
            return write_answer(message, owned, address)
        wants_it = message.opcode in (REGISTRATION, MULTIHOMED) and not (owned.is_group and message.claims_group)
        if wants_it and not self.announcer.is_own(request.peer.address):
            self.counted["defended"] += 1
            return write_refusal(message, owned, address)
        return None

    def counts(self) -> Mapping[str, int]:
        """Requests by what became of them, and names that were lost."""
        return self.counted + self.announcer.counted

    def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
        """The operation, the name with its suffix, and the type; of an answer the RCODE.  Raises Refused."""
        message = read(exchange.request or exchange.answers[0])
        words: dict[str, str | int] = {
            "operation": OPERATIONS.get(message.opcode, str(message.opcode)),
            "name": str(message.name),
            "type": TYPES.get(message.rdtype, str(message.rdtype)),
        }
        answer = exchange.answers[0] if exchange.answers else None
        if answer is not None and answer[2] & RESPONSE >> 8:
            words["rcode"] = answer[3] & RCODE
        return words

    def succeed(self, predecessor: Handler) -> None:
        """Names that stay at a reload are neither released nor claimed again."""
        if isinstance(predecessor, NbnsHandler):
            self.announcer.inherit(predecessor.announcer)

    async def run(self, network: Network) -> None:
        """Register the names on each link until it is time to release them."""
        await self.announcer.run(network)

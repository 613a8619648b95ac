"""Answers LLMNR queries for the names of this host, by UDP and TCP.

A name is answered with the addresses of the arrival link, an address of that link with the names.  Nothing else is ever
answered: who answers for others' names is a poisoner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Self

import attrs
import trio

from responder import PASS, Answer, Connection, Datagram, Exchange, Handler, Network, Via

from ..shared import dns_message as dns
from ..shared import dns_stream
from ..shared.delays import Uniform, by_chance
from ..shared.dns_text import describe
from ..shared.refused import Refused, refusals_counted
from . import wire_name
from .message import (
    Query,
    Record,
    address_records,
    is_response,
    read_query,
    read_response,
    reverse_name,
    write_response,
)
from .verifier import JITTER, State, Verifier

if TYPE_CHECKING:
    from . import Llmnr

CLASSES: Final = (dns.IN, dns.CLASS_ANY)


@attrs.define(eq=False)
class LlmnrHandler(Handler):
    """Answers for the names of one instance.

    names    in wire form, by themselves in lower case
    uniform  chooses a delay between two bounds (seconds)
    """

    names: Mapping[bytes, bytes]
    uniform: Uniform = attrs.field(factory=by_chance)
    counted: Counter[str] = attrs.field(factory=Counter, init=False)
    verifier: Verifier = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.verifier = Verifier(tuple(self.names), self.uniform)

    @classmethod
    def of(cls, options: Llmnr) -> Self:
        names = [wire_name(name) for name in options.names]
        return cls({name.lower(): name for name in names})

    @refusals_counted
    def respond(self, request: Datagram) -> Answer:
        """Answer a query.  Raises PeerError for what RFC 4795 has discarded."""
        if request.service == "verification":
            self.verifier.hear(read_response(request.payload), request.peer.address, request.interface.index)
            return None
        if is_response(request.payload):
            return PASS
        if request.via is not Via.MULTICAST:
            raise Refused("a unicast query by UDP (section 2.4)", "unicast")
        if not request.interface.on_link(request.peer.address):
            # Link-scope groups are heard from any source, but a response goes to an address on the link (section 2.5).
            raise Refused("a query from off the link", "off-link")
        query = read_query(request.payload)
        found = self._find(query, request)
        if found is None:
            return PASS
        records, state = found
        if state is State.TENTATIVE:
            return self._answer_later(write_response(query, records, tentative=True))
        return write_response(query, records)

    async def _answer_later(self, response: bytes) -> bytes:
        """Section 2.7: who has not verified its name might answer together with others."""
        await trio.sleep(self.uniform(0.0, JITTER))
        return response

    async def converse(self, connection: Connection) -> None:
        """Answer queries by TCP, which may be for any name or address of the link (section 2.4)."""

        def answer(payload: bytes) -> bytes | None:
            try:
                query = read_query(payload)
            except Refused as error:
                self.counted[error.kind] += 1
                raise
            found = self._find(query, connection)
            if found is None:
                return None
            records, state = found
            return write_response(query, records, tentative=state is State.TENTATIVE, stream=True)

        await dns_stream.serve(connection.stream, answer)

    def _find(self, query: Query, request: Datagram | Connection) -> tuple[Sequence[Record], State] | None:
        """The records that answer a query on that link; None: it gets no answer."""
        found = self._lookup(query, request) if query.question.rdclass in CLASSES else None
        if found is None:
            self.counted["not-here"] += 1
        elif query.conflict:
            # Section 4.2: it is not answered, and its claim is looked into.
            self.counted["conflict-told"] += 1
            self.verifier.suspect(query.question, request.interface.index)
            return None
        else:
            self.counted["tentative" if found[1] is State.TENTATIVE else "taken"] += 1
        return found

    def _lookup(self, query: Query, request: Datagram | Connection) -> tuple[Sequence[Record], State] | None:
        question = query.question
        interface = request.interface
        name = question.name.lower()
        if name in self.names:
            state = self.verifier.state(interface.index, name)
            if state is State.LOST:
                return None
            return list(address_records(question.name, interface, question.rdtype, request.peer.address)), state
        if not name.endswith(b"\4arpa\0") or not any(reverse_name(own.address) == name for own in interface.addresses):
            return None
        kept = [
            own for lower, own in self.names.items() if self.verifier.state(interface.index, lower) is not State.LOST
        ]
        if not kept:
            return None
        asked = question.rdtype in (dns.PTR, dns.ANY)
        return [Record(question.name, dns.PTR, own) for own in kept if asked], State.UNIQUE

    def counts(self) -> Mapping[str, int]:
        """Queries by what became of them, and conflicts."""
        return self.counted + self.verifier.counted

    def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
        """The question's name and type, and the answer's RCODE: its messages are DNS's but for some bits."""
        return describe(exchange)

    def succeed(self, predecessor: Handler) -> None:
        """Names that stay at a reload stay verified: a tentative answer would be no answer to most."""
        if isinstance(predecessor, LlmnrHandler):
            self.verifier.inherit(predecessor.verifier)

    async def run(self, network: Network) -> None:
        """Verify that the names are unique on each link."""
        await self.verifier.run(network)

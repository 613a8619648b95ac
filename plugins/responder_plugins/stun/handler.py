"""Answers Binding requests by UDP and TCP.  Nothing is kept about clients, and no credentials are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Self

import attrs

from responder import Answer, Connection, Datagram, Exchange, Handler, IPAddress, Network, Peer, Reply, Via

from ..shared.refused import Refused
from . import OTHER
from .description import describe
from .message import (
    CHANGE_IP,
    CHANGE_PORT,
    COOKIE_BYTES,
    HEADER_BYTES,
    Attribute,
    Code,
    Message,
    Type,
    read_message,
    write_address,
    write_attribute,
    write_error_code,
    write_message,
    write_xor_mapped_address,
)
from .other_address import MAX_ADDRESSES, Ends, other_of, pairs_of
from .stream import serve

if TYPE_CHECKING:
    from . import Stun

PLAIN_REQUEST: Final = Type.REQUEST.to_bytes(2) + bytes(2) + COOKIE_BYTES
"""What a request without attributes begins with."""

SUCCESS: Final = Type.SUCCESS.to_bytes(2)
UNICAST: Final = Via.UNICAST

DEFAULT: Final = "default"


@attrs.define(eq=False)
class StunHandler(Handler):
    """Answers for one instance.

    discovers  may answers come from another address or port?
    pairs      address -> other address, where the config says them
    software   the attribute SOFTWARE, or nothing
    """

    discovers: bool
    pairs: Mapping[IPAddress, IPAddress]
    software: bytes
    counted: Counter[str] = attrs.field(factory=Counter, init=False)
    _network: Network | None = attrs.field(default=None, init=False)
    _known: dict[tuple[type, int, int], Ends] = attrs.field(factory=dict, init=False)
    """By an own address and a port, both as numbers: an address takes long to look up."""
    _last: tuple[IPAddress, int, Ends] | None = attrs.field(default=None, init=False)
    """The address and port that were asked last."""

    @classmethod
    def of(cls, options: Stun) -> Self:
        software = write_attribute(Attribute.SOFTWARE, options.software.encode()) if options.software else b""
        return cls(options.behavior_discovery, pairs_of(options.addresses), software)

    async def run(self, network: Network) -> None:
        """Learn which other addresses and ports there are, and when that changes."""
        self._network = network
        async for _ in network.changes():
            self._known.clear()
            self._last = None

    def respond(self, request: Datagram) -> Answer:
        """Answer a Binding request.  Raises PeerError for what is no STUN message."""
        payload, peer = request.payload, request.peer
        ends = self._ends(request.destination, request.port) if request.via is UNICAST else None
        if payload[:8] == PLAIN_REQUEST and len(payload) == HEADER_BYTES:
            # What most clients send: for speed, past what the other requests go through.
            self.counted["answered"] += 1
            transaction = payload[4:]
            attributes = self._attributes(transaction, peer, ends)
            return SUCCESS + len(attributes).to_bytes(2) + transaction + attributes
        try:
            message = self._read(payload)
            if message is None:
                return None
            may_change = ends is not None and ends.other is not None
            if message.is_classic and message.change and not may_change:
                # RFC 3489 has no error for it, and its clients take one for no answer, but ask again at once.
                self.counted["no-other-address"] += 1
                return None
            return self._error(message, may_change) or self._redirected(message, request, ends)
        except Refused as refused:
            self.counted[refused.kind] += 1
            raise

    def _redirected(self, message: Message, request: Datagram, ends: Ends | None) -> Answer:
        """The success response, from another address or port, or to another port of the peer's, if asked to be."""
        change, port = message.change, message.response_port
        answer = self._success(message, request.peer, ends)
        if not change and port is None:
            return answer
        source = service = to = None
        if change and ends is not None:
            self.counted["changed"] += 1
            if change & CHANGE_IP:
                source = ends.origin(change)[0]
            if change & CHANGE_PORT:
                service = DEFAULT if request.service == OTHER else OTHER
        if port is not None:
            to = Peer(request.peer.address, port, request.peer.scope_id)
        return Reply(answer, to=to, source=source, service=service)

    async def converse(self, connection: Connection) -> None:
        """Answer requests, one behind the other, until the client ends or idles."""
        ends = self._ends(connection.destination, connection.port)

        def answer(data: bytes) -> bytes | None:
            try:
                message = self._read(data)
                if message is None:
                    return None
                # Neither end of a connection can be another one.
                error = self._error(message, may_change=False)
                return error or self._success(message, connection.peer, ends)
            except Refused as refused:
                self.counted[refused.kind] += 1
                raise

        await serve(connection.stream, answer)

    def _read(self, data: bytes) -> Message | None:
        """A request; None for an indication, which gets no answer.  Raises Refused."""
        message = read_message(data)
        if message.type == Type.INDICATION:
            self.counted["indication"] += 1
            return None
        if message.type != Type.REQUEST:
            # Of another method, or a response: two servers must not answer each other.
            raise Refused(f"the message type {message.type:#06x}", "bad-type")
        return message

    def _success(self, message: Message, peer: Peer, ends: Ends | None) -> bytes:
        self.counted["answered"] += 1
        if message.is_classic:
            self.counted["classic"] += 1
            attributes = write_address(Attribute.MAPPED_ADDRESS, peer.address, peer.port)
            if ends is not None:
                attributes += ends.classic_attributes(message.change)
            return write_message(Type.SUCCESS, message.transaction, attributes)
        attributes = self._attributes(message.transaction, peer, ends, message.change)
        padding = message.attributes.get(Attribute.PADDING)
        if padding is not None:
            # As long as the client's, and not as the link's MTU (RFC 5780 section 6.1): no more out than in.
            attributes += write_attribute(Attribute.PADDING, bytes(len(padding)))
        return write_message(Type.SUCCESS, message.transaction, attributes, fingerprint=message.has_fingerprint)

    def _attributes(self, transaction: bytes, peer: Peer, ends: Ends | None, change: int = 0) -> bytes:
        """What a success response tells."""
        address, port = peer.address, peer.port
        told = write_xor_mapped_address(address, port, transaction)
        if ends is not None and ends.other is not None:
            # RFC 5780 section 6.1 wants both forms of the mapped address.
            told += write_address(Attribute.MAPPED_ADDRESS, address, port)
            told += ends.attributes(change) if change else ends.unchanged
        return told + self.software if self.software else told

    def _error(self, message: Message, may_change: bool) -> bytes | None:
        """The error response to a request that is not to be answered otherwise.  Raises Refused."""
        unknown = message.unknown
        if not may_change:
            # RFC 5780 section 6.1: who has no other address does not know CHANGE-REQUEST, nor what belongs to it.
            if message.change:
                unknown.append(Attribute.CHANGE_REQUEST)
            if message.response_port is not None:
                unknown.append(Attribute.RESPONSE_PORT)
        if unknown:
            code, kind = Code.UNKNOWN_ATTRIBUTE, "unknown-attribute"
        elif {Attribute.PADDING, Attribute.RESPONSE_PORT} <= message.attributes.keys():
            code, kind = Code.BAD_REQUEST, "bad-request"  # RFC 5780 section 6.1
        else:
            return None
        self.counted[kind] += 1
        attributes = write_error_code(code, unknown, is_classic=message.is_classic)
        if not message.is_classic:
            attributes += self.software
        return write_message(Type.ERROR, message.transaction, attributes, fingerprint=message.has_fingerprint)

    def _ends(self, address: IPAddress, port: int) -> Ends:
        """Where a request to that address and port could be answered from."""
        last = self._last
        if last is not None and last[0] is address and last[1] == port:  # most requests come to one address
            return last[2]
        key = type(address), int(address), port
        ends = self._known.get(key)
        if ends is None:
            ends = self._find_ends(address, port)
            if self._network is None:  # what is found now does not hold for good
                return ends
            if len(self._known) >= MAX_ADDRESSES:
                self._known.clear()
            self._known[key] = ends
        self._last = address, port, ends
        return ends

    def _find_ends(self, address: IPAddress, port: int) -> Ends:
        network = self._network
        if network is None or not self.discovers:
            return Ends((address, port))
        other = self.pairs.get(address) if self.pairs else other_of(address, network.interfaces)
        if other is None:
            return Ends((address, port))
        ports = network.port(DEFAULT), network.port(OTHER)
        return Ends((address, port), (other, ports[0] if port == ports[1] else ports[1]))

    def counts(self) -> Mapping[str, int]:
        """Messages by what became of them."""
        return self.counted

    def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
        """The message's type, and what the client was told."""
        return describe(exchange)

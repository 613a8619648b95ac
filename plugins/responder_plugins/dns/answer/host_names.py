"""Names that mean "this host, as you reach it": their addresses depend on how the query arrived.

In the family of the query the answer is the address that was asked, in the other family all addresses of the arrival
interface; never an address of another link, unless the client asked by it.  An IPv6 link-local address means nothing to
a client without a scope, which DNS can't carry: it is told only where the interface has nothing else.  The names of
exactly these addresses (PTR) are answered as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, TypeAlias

import attrs

from responder import Connection, Datagram, IPAddress, Via

from ..message import wire
from ..message.wire import RRset

Told: TypeAlias = Literal["asked", "interface"]
"""What is told in the family of the query: the address that was asked, or all of the arrival interface's."""


@attrs.frozen
class HostNames:
    """`names` in lower case, the first being what PTR tells; `ttl` in seconds, short since clients move."""

    names: Sequence[bytes]
    ttl: int
    told: Told

    @cached_property
    def existing(self) -> frozenset[bytes]:
        """The names, and those above them."""
        return frozenset(above for name in self.names for above in wire.suffixes(name))

    def answer(self, request: Datagram | Connection, written: bytes, rdtype: int) -> tuple[list[RRset] | None, bool]:
        """The answer, empty where the family has no address; None: no question for this file.

        And whether another client may get another answer.
        """
        name = written.lower()
        if name in self.names:
            versions = {wire.A: (4,), wire.AAAA: (6,), wire.ANY: (4, 6)}.get(rdtype)
            if versions is None:
                return None, False
            rrsets = []
            for version in versions:
                rdatas = tuple(address.packed for address in addresses(request, version, self.told))
                if rdatas:
                    rrsets.append(RRset(written, wire.A if version == 4 else wire.AAAA, self.ttl, rdatas))
            return rrsets, True
        if rdtype in (wire.PTR, wire.ANY) and self.names and name.endswith(b"\4arpa\0"):
            own = [address for version in (4, 6) for address in addresses(request, version, "interface")]
            if _by_unicast(request):
                own.append(request.destination)
            if name in map(reverse_name, own):
                return [RRset(written, wire.PTR, self.ttl, (self.names[0],))], True
            return None, True
        return None, False


def _by_unicast(request: Datagram | Connection) -> bool:
    """Is its destination an address of this host's, not a group?"""
    return not isinstance(request, Datagram) or request.via is Via.UNICAST


def addresses(request: Datagram | Connection, version: int, told: Told) -> list[IPAddress]:
    """The host's addresses of a family, as the client of this query should use them."""
    own = [entry.address for entry in request.interface.addresses if entry.address.version == version]
    asked = request.destination if _by_unicast(request) and request.destination.version == version else None
    if asked is not None and not asked.is_unspecified and not (version == 6 and asked.is_link_local):
        if told == "asked":
            return [asked]
        if asked not in own:  # a service address on another interface
            own.insert(0, asked)
    scoped = [address for address in own if version == 6 and address.is_link_local]
    return [address for address in own if address not in scoped] or scoped


def reverse_name(address: IPAddress) -> bytes:
    """The name of its PTR records (RFC 1035 section 3.5, RFC 3596 section 2.5) in wire form."""
    labels = address.reverse_pointer.split(".")
    return b"".join(bytes((len(label),)) + label.encode() for label in labels) + wire.ROOT

"""Other servers of a zone: as options name them, and as the zone itself does."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from responder import InterfaceAddress, IPAddress, Peer

from ..message import wire
from ..zone.catalog import Catalog
from ..zone.tables import Zone

PORT: Final = 53
TLS_PORT: Final = 853  # RFC 7858 section 3.1


def server_of(text: str, port_by_default: int = PORT) -> Peer:
    """Read `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53` or `[2001:db8::53]:5353`.  Raises ValueError."""
    try:
        return Peer(text, port_by_default)
    except ValueError:
        host, _, port = text.rpartition(":")
    try:
        bracketed = host.startswith("[") and host.endswith("]")
        address = ip_address(host[1:-1] if bracketed else host)
        if bracketed == (address.version == 6) and port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536:
            return Peer(address, int(port))
    except ValueError:
        pass
    raise ValueError(f"expected an address, or an address and a port such as [2001:db8::53]:5353, got {text!r}")


def primary(zone: Zone) -> bytes:
    """The name of the primary server, MNAME of the SOA record (RFC 1035 section 3.3.13), in lower case."""
    return _name(zone.soa.rdatas[0])


def names(zone: Zone) -> list[bytes]:
    """The names of the zone's servers, in lower case."""
    found = zone.rrset(zone.origin, wire.NS)
    return [] if found is None else [_name(rdata) for rdata in found.rdatas]


def _name(rdata: bytes) -> bytes:
    """The name that the rdata begins with, in lower case."""
    end = 0
    while rdata[end]:
        end += rdata[end] + 1
    return rdata[: end + 1].lower()


def addresses(catalog: Catalog, name: bytes) -> list[IPAddress] | None:
    """What the zones that are served here say of a server's name, glue included; None: they say nothing of it."""
    origin = catalog.covers(name)
    zone = None if origin is None else catalog.zones[origin]
    if zone is None:
        return None
    rrsets = [zone.rrset(name, rdtype) for rdtype in (wire.A, wire.AAAA)]
    return [ip_address(rdata) for rrset in rrsets if rrset is not None for rdata in rrset.rdatas]


def source_for(server: IPAddress, known: Iterable[IPAddress], own: Iterable[InterfaceAddress]) -> IPAddress | None:
    """The own address to speak to a server from; None: as the routing table has it.

    It is one by which the zone's servers are `known`, since another one the server may not take for this host; one in
    the server's network first.
    """
    known = {*known}
    found = [each for each in own if each.address in known and each.address.version == server.version]
    nearest = min(found, key=lambda each: server not in each.network, default=None)
    return None if nearest is None else nearest.address

"""Two zones compared, of which one took changes and the other was read."""

from __future__ import annotations

from collections.abc import Mapping

from responder_plugins.dns.zone.denial import Nsec3Chain, NsecChain
from responder_plugins.dns.zone.rdata import folded
from responder_plugins.dns.zone.tables import Zone, blocks, unpack


def normal(table: Mapping[bytes, bytes]) -> dict[bytes, object]:
    """Nodes without the order of records and the spelling of rdata, which make no other record."""
    return {
        name: (
            node[:1],
            sorted((rdtype, of, *sorted_records(rdtype, records)) for rdtype, of, _, records in blocks(node)),
        )
        for name, node in table.items()
    }


def sorted_records(rdtype: int, records: bytes) -> tuple[int, list[bytes]]:
    ttl, rdatas = unpack(records)
    return ttl, sorted(folded(rdtype, rdata) for rdata in rdatas)


def chain_of(zone: Zone) -> list[bytes]:
    match zone.chain:
        case NsecChain(names=entries) | Nsec3Chain(labels=entries):
            return entries
        case _:
            return []


def assert_same(changed: Zone, read: Zone) -> None:
    assert normal(changed.nodes) == normal(read.nodes)
    assert normal(changed.hashed) == normal(read.hashed)
    assert (changed.cuts, changed.dnames, changed.spelled) == (read.cuts, read.dnames, read.spelled)
    assert changed.children == read.children
    assert (changed.serial, changed.soa, changed.negative) == (read.serial, read.soa, read.negative)
    assert (chain_of(changed), changed.first_end) == (chain_of(read), read.first_end)
    assert changed.unsigned == read.unsigned

"""A zone as the text of a master file (RFC 1035 section 5): what is read again is the same zone."""

from __future__ import annotations

from collections.abc import Iterator

import dns.rdata
import dns.rdataclass
import dns.rdatatype

from .builder import name_text, type_text
from .changes import ZoneRecord, records_of
from .denial import canonical
from .rdata import by_dnspython, folded, is_ours_alone
from .tables import Zone


def lines(zone: Zone) -> Iterator[str]:
    """A line each record, the SOA record first, the others by their names in the order of DNSSEC (RFC 4034 6.1)."""
    soa, *others = records_of(zone)
    yield _line(soa)
    for record in sorted(others, key=lambda record: (canonical(record.name.lower()), record.rdtype)):
        yield _line(record)


def _line(record: ZoneRecord) -> str:
    return f"{name_text(record.name)} {record.ttl} IN {type_text(record.rdtype)} {_data(record.rdtype, record.rdata)}"


def _data(rdtype: int, rdata: bytes) -> str:
    """As its type has it, or in the generic form (RFC 3597 section 5) where that would not be read as the same."""
    kind = dns.rdatatype.RdataType.make(rdtype)
    if not is_ours_alone(rdtype):
        try:
            text = dns.rdata.from_wire(dns.rdataclass.IN, kind, rdata, 0, len(rdata)).to_text()
            if folded(rdtype, by_dnspython(rdtype, text, dns.name.root)) == folded(rdtype, rdata):
                return text
        except Exception:  # noqa: S110 - dnspython raises what its parsers meet; the other form is as good
            pass
    return f"\\# {len(rdata)} {rdata.hex()}"

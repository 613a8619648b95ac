"""Signed queries and their answers (TSIG, RFC 8945); the digests are dnspython's.

A query whose signature doesn't hold is answered with the reason and gets nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.tsig

from ..message import wire

BADSIG, BADKEY, BADTIME = 16, 17, 18

FUDGE: Final = 300
"""Seconds that the clocks may differ (RFC 8945 section 10)."""

Keyring = Mapping[dns.name.Name, dns.tsig.Key]


@attrs.define(eq=False)
class Signer:
    """Signs the answers to one query.  `error` is told with them; not 0: the query was no good.

    Several messages of one answer are signed one after the other, each over the one before (RFC 8945 section 5.3.1).
    """

    key: dns.tsig.Key | None
    name: dns.name.Name
    rdata: dns.rdtypes.ANY.TSIG.TSIG
    clock: Callable[[], float]
    error: int = 0
    context: Any = attrs.field(default=None, init=False)

    @property
    def size(self) -> int:
        """Bytes of that record (RFC 8945 section 4.2): names, the numbers, a digest, and a time for who is late."""
        names = len(self.name.to_digestable()) + len(self.rdata.algorithm.to_digestable())
        digest = 0 if self.key is None else dns.tsig.mac_sizes[self.key.algorithm]
        return names + wire.RECORD.size + 16 + digest + (6 if self.error == BADTIME else 0)

    def sign(self, message: bytes, *, multi: bool = False) -> bytes:
        """The message with its TSIG record."""
        now = int(self.clock())
        # RFC 8945 section 5.2.3: who has the wrong time is told ours, under its own.
        late = self.error == BADTIME
        rdata = dns.rdtypes.ANY.TSIG.TSIG(  # type: ignore[no-untyped-call]  # dnspython's has no types
            dns.rdataclass.ANY,
            dns.rdatatype.TSIG,
            self.rdata.algorithm,
            self.rdata.time_signed if self.key is None or late else now,
            FUDGE,
            b"",
            int.from_bytes(message[:2]),
            self.error,
            now.to_bytes(6) if late else b"",
        )
        if self.key is not None:
            first = self.context is None
            rdata, self.context = dns.tsig.sign(  # type: ignore[no-untyped-call]  # as above
                message, self.key, rdata, rdata.time_signed, self.rdata.mac if first else None, self.context, multi
            )
        packed = rdata.to_wire() or b""  # None only where it was written into a file
        record = self.name.to_digestable() + wire.RECORD.pack(wire.TSIG, wire.CLASS_ANY, 0, len(packed)) + packed
        count = int.from_bytes(message[10:12]) + 1
        return message[:10] + count.to_bytes(2) + message[12:] + record


def verify(data: bytes, start: int, keys: Keyring, clock: Callable[[], float]) -> Signer | None:
    """Check the TSIG record that begins at `start` of a query; None where it can't even be read."""
    try:
        name, used = dns.name.from_wire(data, start)
        at = start + used
        _, rdclass, ttl, size = wire.RECORD.unpack_from(data, at)
        rdata = dns.rdata.from_wire(dns.rdataclass.ANY, dns.rdatatype.TSIG, data, at + wire.RECORD.size, size)
    except (dns.exception.DNSException, ValueError, struct.error):
        return None
    if rdclass != wire.CLASS_ANY or ttl != 0 or not isinstance(rdata, dns.rdtypes.ANY.TSIG.TSIG):
        return None
    key = keys.get(name)
    if key is None or key.algorithm != rdata.algorithm:
        return Signer(None, name, rdata, clock, BADKEY)
    try:
        dns.tsig.validate(data, key, name, rdata, int(clock()), b"", start)  # type: ignore[no-untyped-call]  # as above
    except dns.tsig.BadTime:
        return Signer(key, name, rdata, clock, BADTIME)
    except dns.exception.DNSException:
        return Signer(None, name, rdata, clock, BADSIG)
    return Signer(key, name, rdata, clock)

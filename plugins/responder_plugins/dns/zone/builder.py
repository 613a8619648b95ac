"""Builds a zone from its records, and says what is wrong with them as a whole.

    out of the zone          CNAME beside other data (RFC 2181 section 10.1)    two CNAME, DNAME or SOA records
    no SOA, no NS at apex    data below a DNAME (RFC 6672 section 2.4)          an RRset that no message can hold

NSEC3 records stand apart, since their owners are hashes and no names of the zone (RFC 5155 section 7.2.8).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Final

import attrs
import dns.name
import dns.rdatatype

from responder import ConfigError, ConfigErrors, Stamp, get_logger, wall_time

from ..message import wire
from .denial import Chain, chain_of
from .rdata import folded
from .rules import LONGEST, NEEDED, SINGLE, covered_by, is_of_hashes, may_stand_together
from .signatures import FirstEnd, unsigned
from .tables import BLOCK, LEADING_ON, Zone, blocks, pack_record, ttl_of, way_to_answer

MAX_MISTAKES: Final = 20
MAX_WARNINGS: Final = 20
PROGRESS: Final = 100_000
"""Records after which it is told how far the reading is."""

MAX_ITERATIONS: Final = 150
"""Of NSEC3: with more, resolvers take the zone for an unsigned one, or don't answer (RFC 9276 section 3.2)."""

SOME: Final = 3
"""Names that a warning tells of many."""

_log = get_logger(__name__)


@attrs.frozen
class Line:
    """Where a record stands."""

    file: Path
    number: int


class ZoneBuilder:
    """Takes records one by one; `finish` makes the zone."""

    def __init__(self, origin: bytes) -> None:
        self.origin = origin
        self.nodes: dict[bytes, bytes] = {}
        self.spelled: dict[bytes, bytes] = {}
        self.records = 0
        self._hashed: dict[bytes, bytes] = {}
        self._ends = FirstEnd(wall_time())
        self._unsigned = 0
        self._cuts: set[bytes] = set()
        self._dnames: dict[bytes, Line] = {}
        # The rdata of RRsets with several records, to find duplicates.
        self._seen: dict[tuple[bytes, int, int], set[bytes]] = {}
        self.mistakes: list[ConfigError] = []
        self._warnings: list[ConfigError] = []

    # Records

    def add(self, written: bytes, rdtype: int, ttl: int, rdata: bytes, line: Line) -> None:
        """One record; its name as the file spells it.  Raises ConfigErrors where there are too many mistakes."""
        name = written.lower()
        if not wire.is_below(name, self.origin):
            self.mistake(f"{name_text(written)} is out of the zone {name_text(self.origin)}", line)
            return
        if len(rdata) > LONGEST:
            self.mistake(
                f"{name_text(written)}: {len(rdata)} bytes of {type_text(rdtype)} data: no message holds so many", line
            )
            return
        covered = covered_by(rdtype, rdata)
        hashed = is_of_hashes(rdtype, covered)
        table = self._hashed if hashed else self.nodes
        node = table.get(name, b"")
        for each, of, count, records in blocks(node):
            if (each, of) == (rdtype, covered):
                self._add_to(table, name, written, covered, count, records, rdtype, rdata, line)
                return
        if node and not hashed and not may_stand_together({each for each, _, _, _ in blocks(node)}, rdtype):
            self.mistake(f"{name_text(written)} has a CNAME record beside others", line)
            return
        if rdtype == wire.NSEC3PARAM and int.from_bytes(rdata[2:4]) > MAX_ITERATIONS:
            self.warning(f"{int.from_bytes(rdata[2:4])} iterations of NSEC3: resolvers give up (RFC 9276)", line)
        record = pack_record(rdtype, ttl, rdata)
        node = (node or b"\0") + BLOCK.pack(rdtype, covered, 1, len(record)) + record
        table[name] = bytes((way_to_answer(node),)) + node[1:]
        if rdtype == wire.RRSIG:
            self._ends.see(rdata)
        if written != name:
            self.spelled.setdefault(name, written)
        if rdtype in (wire.NS, wire.DNAME, wire.SOA):
            self._note(name, rdtype, line)
        self.count(1)

    def _add_to(
        self,
        table: dict[bytes, bytes],
        name: bytes,
        written: bytes,
        covered: int,
        count: int,
        records: bytes,
        rdtype: int,
        rdata: bytes,
        line: Line,
    ) -> None:
        """One record more of an RRset."""
        key = name, rdtype, covered
        seen = self._seen.get(key)
        if seen is None:
            # The first record: with one there is nothing to compare before.
            seen = self._seen[key] = {folded(rdtype, records[12:])}
        rdata_folded = folded(rdtype, rdata)
        if rdata_folded in seen:  # RFC 2181 section 5: a duplicate is no record more
            return
        if rdtype in SINGLE:
            self.mistake(f"{name_text(written)} has two {type_text(rdtype)} records", line)
            return
        seen.add(rdata_folded)
        # RFC 2181 section 5.2: the TTLs of an RRset are one.
        more = pack_record(rdtype, ttl_of(records), rdata)
        if len(records) + len(more) > LONGEST:
            self.mistake(f"{name_text(written)} has more {type_text(rdtype)} records than a message can hold", line)
            return
        node = b"\0" + b"".join(
            BLOCK.pack(each, of, number + 1, len(old) + len(more)) + old + more
            if (each, of) == (rdtype, covered)
            else BLOCK.pack(each, of, number, len(old)) + old
            for each, of, number, old in blocks(table[name])
        )
        table[name] = bytes((way_to_answer(node),)) + node[1:]
        if rdtype == wire.RRSIG:
            self._ends.see(rdata)
        self.count(1)

    def _note(self, name: bytes, rdtype: int, line: Line) -> None:
        if rdtype == wire.SOA and name != self.origin:
            self.mistake(f"{name_text(name)} has an SOA record, and is not where the zone begins", line)
        elif rdtype == wire.NS and name != self.origin:
            self._cuts.add(name)
        elif rdtype == wire.DNAME:
            self._dnames[name] = line
        if rdtype != wire.SOA and name.startswith(b"\1*"):
            does, where = (
                ("delegates", "RFC 4592 section 4.2") if rdtype == wire.NS else ("redirects", "RFC 6672 section 3.3")
            )
            self.warning(f"{name_text(name)}: a wildcard's {type_text(rdtype)} record {does} nothing ({where})", line)

    def count(self, records: int) -> None:
        before = self.records // PROGRESS
        self.records += records
        if self.records // PROGRESS > before:
            _log.info("a zone is being read", zone=name_text(self.origin), records=self.records)

    def mistake(self, message: str, line: Line) -> None:
        self.mistakes.append(ConfigError(message, file=line.file, line=line.number))
        if len(self.mistakes) >= MAX_MISTAKES:
            raise ConfigErrors(self.mistakes)

    def warning(self, message: str, line: Line) -> None:
        if len(self._warnings) < MAX_WARNINGS:
            self._warnings.append(ConfigError(message, file=line.file, line=line.number))

    # The whole

    def finish(self, path: Path, files: Mapping[Path, Stamp]) -> Zone:
        """The zone, `path` being the file that was named.  Raises ConfigErrors."""
        if not self.mistakes:
            self._check(path)
        if self.mistakes:
            raise ConfigErrors(self.mistakes)
        for parent in {wire.parent(name) for name in self.nodes if name != self.origin}:
            for above in self._up_from(parent):  # RFC 4592 section 2.2.2: empty non-terminals
                if above in self.nodes:
                    break
                self.nodes[above] = b""
        below = self._mark_below_cuts() if self._cuts else set()
        chain = self._chain(path, below)
        return Zone(
            self.origin,
            self.nodes,
            self._hashed,
            self.spelled,
            self._cuts,
            set(self._dnames),
            files,
            self._warnings,
            chain,
            self._ends,
            self._unsigned,
        )

    def _chain(self, path: Path, below: Set[bytes]) -> Chain | None:
        """What the zone denies names with, where it is signed; a warning where it is signed only in part.

        `below` are the names below its delegations.
        """
        if self._ends.time is None:
            return None
        chain = chain_of(self.origin, self.nodes, self._hashed)
        zone = f"zone {name_text(self.origin)}"
        if chain is None:
            needed = "SOA and DNSKEY records must be there and signed, with a chain of NSEC or NSEC3"
            self._warnings.append(ConfigError(f"{zone}: its signatures are not served: {needed}", file=path))
            return None
        missing = list(unsigned(self.nodes, self._hashed, self._cuts, below, chain.rdtype))
        self._unsigned = len(missing)
        if missing:
            some = ", ".join(f"{name_text(name)} {type_text(rdtype)}" for name, rdtype in missing[:SOME])
            more = f" and {len(missing) - SOME} more" if len(missing) > SOME else ""
            self._warnings.append(ConfigError(f"{zone}: signed in part, without a signature: {some}{more}", file=path))
        return chain

    def _check(self, path: Path) -> None:
        apex = {rdtype for rdtype, _, _, _ in blocks(self.nodes.get(self.origin, b""))}
        for rdtype in NEEDED:
            if rdtype not in apex:
                message = f"the zone {name_text(self.origin)} has no {type_text(rdtype)} record"
                self.mistakes.append(ConfigError(message, file=path))
        for name in self.nodes if self._dnames else ():
            above = next((above for above in self._up_from(wire.parent(name), name) if above in self._dnames), None)
            if above is not None:
                message = f"{name_text(name)} is below this DNAME record (RFC 6672 section 2.4)"
                self.mistake(message, self._dnames[above])

    def _up_from(self, name: bytes, own: bytes | None = None) -> Iterator[bytes]:
        """The names from `name` up to the origin; none where `own`, of which `name` is the parent, is the origin."""
        if own != self.origin:
            for suffix in wire.suffixes(name):
                yield suffix
                if suffix == self.origin:
                    return

    def _mark_below_cuts(self) -> set[bytes]:
        """What stands at and below a delegation is another's: no RRset there is an answer.  The names below."""
        below: dict[bytes, bool] = {}
        found = set()
        for name, node in self.nodes.items():
            parent = wire.parent(name) if name != self.origin else name
            known = below.get(parent)
            if known is None:
                known = below[parent] = any(above in self._cuts for above in self._up_from(parent))
            if known:
                found.add(name)
            if known or name in self._cuts:
                self.nodes[name] = bytes((LEADING_ON,)) + node[1:]
        return found


def type_text(rdtype: int) -> str:
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rdtype))


def name_text(name: bytes) -> str:
    return dns.name.from_wire(name, 0)[0].to_text()

"""Master files into zones: RFC 1035 section 5, with $TTL of RFC 2308 section 4.

Tokens, names and rdata are dnspython's; the lines are read here, so that each mistake has its file and line and a file
of `$INCLUDE` is found beside the one that names it.  What breaks the syntax ends the reading; other mistakes are all
told.

    out of the zone          CNAME beside other data (RFC 2181 section 10.1)    two CNAME, DNAME or SOA records
    no SOA, no NS at apex    data below a DNAME (RFC 6672 section 2.4)          NS or DNAME of a wildcard (RFC 4592)
    unknown type or class    TTL above 2**31 - 1 (RFC 2181 section 8)           an RRset that no message can hold

A zone whose files are as they were is not read again: reloads and several instances share it.
"""

from __future__ import annotations

import functools
import io
import logging
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import dns.exception
import dns.ipv4
import dns.ipv6
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.ttl

from responder import ConfigError, ConfigErrors, Context, stamp_of

from ..message import wire
from . import plain_lines
from .tables import LINKING, Zone, pack

MAX_DEPTH: Final = 8
"""Files that include each other: deeper is a loop."""

MAX_MISTAKES: Final = 20
PROGRESS: Final = 100_000
"""Records after which it is told how far the reading is."""

MAX_TTL: Final = 2**31 - 1
_NS, _CNAME, _DNAME, _DS = (kind.to_bytes(2) for kind in (wire.NS, wire.CNAME, wire.DNAME, wire.DS))
_BESIDE_CNAME: Final = frozenset({_CNAME, b"\0\x2e", b"\0\x2f"})  # RRSIG and NSEC
_SINGLE: Final = frozenset({wire.SOA, wire.CNAME, wire.DNAME})

_log = logging.getLogger(__name__)

_loaded: weakref.WeakValueDictionary[tuple[bytes, Path], Zone] = weakref.WeakValueDictionary()
"""The zones that handlers hold.  Of the process, since a new instance is made without knowing the one before it."""


def load(origin: dns.name.Name, file: Path, context: Context) -> Zone:
    """The zone of a master file, which is named to `context` with all that it includes.

    Raises ConfigErrors, each with file and line.
    """
    path = context.path(file)
    present = last_good(origin, path)
    if present is not None and all(stamp_of(each) == stamp for each, stamp in present.files.items()):
        context.files.update(present.files)
        return present
    loader = _Loader(origin, context)
    zone = loader.load(path)
    _loaded[zone.origin, path] = zone
    return zone


def last_good(origin: dns.name.Name, path: Path) -> Zone | None:
    """What was last read from that file and still is in use."""
    return _loaded.get((origin.to_digestable(), path))


@attrs.frozen
class _Line:
    file: Path
    number: int


class _Syntax(Exception):
    """This line can't be read."""


class _Loader:
    """Reads one zone."""

    def __init__(self, origin: dns.name.Name, context: Context) -> None:
        self._origin_name = origin
        self._origin = origin.to_digestable()
        self._context = context
        self._files: set[Path] = set()
        self._mistakes: list[ConfigError] = []
        self._records = 0
        self._tables: dict[bytes, bytes] = {}
        self._seen: dict[bytes, set[bytes]] = {}
        self._names: dict[bytes, bytes] = {}
        self._spelled: dict[bytes, bytes] = {}
        # One object for each combination of types: millions of names have a handful.
        self._kinds: dict[bytes, bytes] = {}
        # Where the records stand that other records depend on.
        self._lines: dict[bytes, _Line] = {}
        self._default_ttl: int | None = None
        self._last_ttl: int | None = None

    def load(self, path: Path) -> Zone:
        self._read(path, self._origin_name, 0)
        if not self._mistakes:
            self._check(path)
        if self._mistakes:
            raise ConfigErrors(self._mistakes)
        return self._zone()

    # Reading

    def _read(self, path: Path, origin: dns.name.Name, depth: int) -> None:
        try:
            text = self._context.read_text(path)
        except ConfigError as error:
            raise ConfigErrors([*self._mistakes, error]) from None
        self._files.add(path)
        # The tokenizer takes the marks of Windows, at the begin of a file and the ends of lines, for parts of words.
        text = text.removeprefix("\ufeff").replace("\r\n", "\n")
        buffer = io.StringIO(text)
        tokens = dns.tokenizer.Tokenizer(buffer, str(path))
        owner: bytes | None = None
        base = _written(origin)
        line = _Line(path, 1)
        try:
            while True:
                # The tokenizer reads a character at a time: between two lines it has taken no more than it gave.
                if tokens.ungotten_char is None and tokens.ungotten_token is None:
                    place = buffer.tell()
                    found = plain_lines.read(buffer.readline(), owner, base)
                    if found is not None and self._plain_record(found, _Line(path, tokens.line_number)):
                        owner = found[0]
                        tokens.line_number += 1
                        continue
                    buffer.seek(place)
                token = tokens.get(want_leading=True)
                line = _Line(path, tokens.where()[1])
                if token.is_eof():
                    return
                if token.is_eol():
                    line = _Line(path, line.number - 1)
                    continue
                if token.is_identifier() and token.value.startswith("$"):
                    origin = self._directive(token.value.upper(), tokens, origin, line, depth)
                    base = _written(origin)
                    continue
                if token.is_whitespace():
                    token = tokens.get()
                    if token.is_eol_or_eof():
                        continue
                    tokens.unget(token)
                else:
                    owner = _written(tokens.as_name(token, origin))
                self._record(owner, tokens, origin, line)
        except (_Syntax, dns.exception.DNSException) as error:
            raise ConfigErrors([*self._mistakes, ConfigError(_said(error), file=path, line=line.number)]) from None

    def _directive(
        self, word: str, tokens: dns.tokenizer.Tokenizer, origin: dns.name.Name, line: _Line, depth: int
    ) -> dns.name.Name:
        """Obey it; the origin from there on."""
        if word == "$TTL":
            self._default_ttl = _ttl(tokens.get_string())
        elif word == "$ORIGIN":
            origin = tokens.get_name(origin)
        elif word == "$INCLUDE":
            name = tokens.get_string()
            token = tokens.get()
            inner = origin if token.is_eol_or_eof() else tokens.as_name(token, origin)
            if not token.is_eol_or_eof():
                tokens.get_eol()
            if depth == MAX_DEPTH:
                raise _Syntax(f"$INCLUDE {name}: more than {MAX_DEPTH} files deep")
            path = line.file.parent / name
            if not path.is_file():
                self._context.path(path)  # so that a reload knows when it is there
                raise _Syntax(f"$INCLUDE: there is no file {path}")
            # RFC 1035 section 5.1: the origin of the included file ends with it.
            self._read(path, inner, depth + 1)
            return origin
        else:
            raise _Syntax(f"{word} is no directive that is known here")
        tokens.get_eol()
        return origin

    def _plain_record(self, record: tuple[bytes, int | None, int, bytes], line: _Line) -> bool:
        """Add what `lines` has read; False: not without a TTL."""
        written, ttl, rdtype, rdata = record
        if ttl is not None:
            self._last_ttl = ttl
        else:
            ttl = self._last_ttl if self._default_ttl is None else self._default_ttl
            if ttl is None:
                return False
        self._add(written, rdtype, ttl, rdata, line)
        return True

    def _record(self, owner: bytes | None, tokens: dns.tokenizer.Tokenizer, origin: dns.name.Name, line: _Line) -> None:
        """The rest of a line: [TTL] [class] type rdata, or class first (RFC 1035 section 5.1)."""
        if owner is None:
            raise _Syntax("the first record has no name")
        ttl: int | None = None
        word = tokens.get_string()
        for _ in range(2):
            if word[:1].isdigit():
                ttl = self._last_ttl = _ttl(word)
            elif word.upper() not in {"IN", "CLASS1"}:  # RFC 3597 section 5 has the second
                if word.upper() in {"CH", "HS", "CS"} or word.upper().startswith("CLASS"):
                    raise _Syntax(f"class {word}: the zone is of class IN")
                break
            word = tokens.get_string()
        rdtype = _rdtype(word)
        try:
            packed = _rdata(rdtype, tokens, origin)
        except (dns.exception.DNSException, ValueError, OverflowError) as error:
            raise _Syntax(f"{word}: {_said(error)}") from None
        if ttl is None:
            # RFC 2308 section 4: $TTL; else RFC 1035 section 5.1: the last one stated.
            ttl = self._last_ttl if self._default_ttl is None else self._default_ttl
        if ttl is None:
            if rdtype != wire.SOA:
                raise _Syntax("no TTL, and no $TTL before it")
            # Before RFC 2308 the SOA's MINIMUM was the default.
            ttl = self._default_ttl = min(int.from_bytes(packed[-4:]), MAX_TTL)
        self._add(owner, int(rdtype), ttl, packed, line)

    def _add(self, written: bytes, rdtype: int, ttl: int, rdata: bytes, line: _Line) -> None:
        name = written.lower()
        if not wire.is_below(name, self._origin):
            self._mistake(f"{_text(written)} is out of the zone {self._origin_name}", line)
            return
        key = name + rdtype.to_bytes(2)
        records = self._tables.get(key)
        if records is None:
            before = self._names.get(name, b"")
            # RFC 2181 section 10.1; RFC 4034 sections 2.5 and 4: what signs a name may stand beside its CNAME.
            alone = key[-2:] not in _BESIDE_CNAME and _CNAME in _split(before)
            if alone or (rdtype == wire.CNAME and not _BESIDE_CNAME.issuperset(_split(before))):
                self._mistake(f"{_text(written)} has a CNAME record beside others", line)
                return
            self._tables[key] = b"\0\1" + pack(rdtype, ttl, rdata)
            self._names[name] = self._kinds.setdefault(before + key[-2:], before + key[-2:])
            if rdtype in LINKING or rdtype == wire.SOA:
                self._lines[key] = line
            if written != name:
                self._spelled[name] = written
            self._count()
            return
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = {records[14:]}
        if rdata in seen:  # RFC 2181 section 5: a duplicate is no record more
            return
        if rdtype in _SINGLE:
            self._mistake(f"{_text(written)} has two {_type(rdtype)} records", line)
            return
        seen.add(rdata)
        # RFC 2181 section 5.2: the TTLs of an RRset are one.
        records = len(seen).to_bytes(2) + records[2:] + pack(rdtype, int.from_bytes(records[8:12]), rdata)
        if len(records) > wire.STREAM - 512:  # 512: header, question, OPT and TSIG
            self._mistake(f"{_text(written)} has more {_type(rdtype)} records than a message can hold", line)
            return
        self._tables[key] = records
        self._count()

    def _count(self) -> None:
        self._records += 1
        if self._records % PROGRESS == 0:
            _log.info("reading zone %s: %d records", self._origin_name, self._records)

    def _mistake(self, message: str, line: _Line) -> None:
        self._mistakes.append(ConfigError(message, file=line.file, line=line.number))
        if len(self._mistakes) >= MAX_MISTAKES:
            raise ConfigErrors(self._mistakes)

    # Checks of the whole, and the tables

    def _check(self, path: Path) -> None:
        for rdtype in (wire.SOA, wire.NS):
            if self._origin + rdtype.to_bytes(2) not in self._tables:
                message = f"the zone {self._origin_name} has no {_type(rdtype)} record"
                self._mistakes.append(ConfigError(message, file=path))
        for key, line in self._lines.items():
            name, rdtype = key[:-2], int.from_bytes(key[-2:])
            if rdtype == wire.SOA and name != self._origin:
                self._mistake(f"{_text(name)} has an SOA record, and is not where the zone begins", line)
            elif rdtype in {wire.NS, wire.DNAME} and name.startswith(b"\1*"):
                self._mistake(f"{_text(name)}: a wildcard can't delegate (RFC 4592 sections 4.2 and 4.4)", line)
        redirected = {key[:-2] for key in self._lines if key.endswith(_DNAME)}
        for name in self._names if redirected else ():
            above = next((above for above in self._between(wire.parent(name), name) if above in redirected), None)
            if above is not None:
                message = f"{_text(name)} is below this DNAME record (RFC 6672 section 2.4)"
                self._mistake(message, self._lines[above + _DNAME])

    def _between(self, name: bytes, own: bytes) -> Iterator[bytes]:
        """The names from `name` up to the origin."""
        if len(own) > len(self._origin):
            for suffix in wire.suffixes(name):
                yield suffix
                if suffix == self._origin:
                    return

    def _zone(self) -> Zone:
        cuts = {key[:-2] for key in self._lines if key.endswith(_NS)} - {self._origin}
        apart = {key for key in self._lines if int.from_bytes(key[-2:]) in LINKING}
        for name, kinds in self._names.items() if cuts else ():
            if any(above in cuts for above in self._between(name, name)):
                # At the cut itself only the DS records are this zone's own (RFC 4035 section 3.1.4.1).
                apart.update(name + kind for kind in _split(kinds) if kind != _DS or name not in cuts)
        linked = {key: self._tables.pop(key) for key in apart}
        for name in list(self._names):
            for above in self._between(wire.parent(name), name):  # RFC 4592 section 2.2.2: empty non-terminals
                if above in self._names:
                    break
                self._names[above] = b""
        files = {path: stamp for path, stamp in self._context.files.items() if path in self._files}
        return Zone(self._origin, self._tables, linked, self._names, self._spelled, files)


def _written(name: dns.name.Name) -> bytes:
    """A name in wire form as it is spelled."""
    return b"".join(len(label).to_bytes() + label for label in name.labels)


def _split(kinds: bytes) -> list[bytes]:
    return [kinds[at : at + 2] for at in range(0, len(kinds), 2)]


_ADDRESSES: Final = {wire.A: dns.ipv4.inet_aton, wire.AAAA: dns.ipv6.inet_aton}


def _rdata(rdtype: dns.rdatatype.RdataType, tokens: dns.tokenizer.Tokenizer, origin: dns.name.Name) -> bytes:
    """The rest of a line in wire form.  Raises DNSException, ValueError, OverflowError."""
    if rdtype in _ADDRESSES:  # most of a large zone: without an object in between it is read a third faster
        token = tokens.get()
        if token.is_identifier() and token.value != "\\#":
            tokens.get_eol()
            return _ADDRESSES[rdtype](token.value)
        tokens.unget(token)
    rdata = dns.rdata.from_text(dns.rdataclass.IN, rdtype, tokens, origin, relativize=False)
    return rdata.to_wire() or b""  # None only where it was written into a file


@functools.cache
def _rdtype(word: str) -> dns.rdatatype.RdataType:
    """Raises _Syntax for what is no type of data."""
    try:
        rdtype = dns.rdatatype.from_text(word)
    except (dns.rdatatype.UnknownRdatatype, ValueError):
        raise _Syntax(f"unknown type {word!r}") from None
    if dns.rdatatype.is_metatype(rdtype):
        raise _Syntax(f"{word} is no type of data")
    return rdtype


def _ttl(text: str) -> int:
    """Raises _Syntax."""
    try:
        ttl = dns.ttl.from_text(text)
    except dns.ttl.BadTTL:
        raise _Syntax(f"bad TTL {text!r}") from None
    if ttl > MAX_TTL:
        raise _Syntax(f"bad TTL {text!r}: above {MAX_TTL} (RFC 2181 section 8)")
    return ttl


def _type(rdtype: int) -> str:
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rdtype))


def _text(name: bytes) -> str:
    return dns.name.from_wire(name, 0)[0].to_text()


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__

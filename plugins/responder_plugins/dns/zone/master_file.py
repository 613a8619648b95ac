"""Master files into zones: RFC 1035 section 5, with $TTL of RFC 2308 section 4 and the $GENERATE of BIND.

The lines are read here, so that each mistake has its file and line, and all are told (see `builder`); only a wrong
directive, or what can't be divided into words, ends the reading.  A file of `$INCLUDE` is found beside the one that
names it, and in the folder of the zone file or below it, unless the option `include_anywhere` allows others.

A zone whose files are as they were is not read again: reloads and several instances share it.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final

import dns.exception
import dns.name

from responder import ConfigError, ConfigErrors, Context, stamp_of

from ..message import wire
from . import generate, plain_lines, rdata, svcb
from .builder import Line, ZoneBuilder, type_text
from .names import NameReader, wire_name
from .plain_lines import NOT_PLAIN, Position
from .record import MAX_TTL, Ttls, read_header, read_ttl
from .tables import Zone
from .words import Entry, Malformed, Unreadable, entry_at, shortened

MAX_DEPTH: Final = 8
"""Files that include each other: deeper is a loop."""

STRETCH: Final = 2**20
"""Bytes of plain lines that are split at once."""

_loaded: weakref.WeakValueDictionary[tuple[bytes, Path, bool], Zone] = weakref.WeakValueDictionary()
"""The zones that handlers hold.  Of the process, since a new instance is made without knowing the one before it."""


def load(
    origin: dns.name.Name,
    file: Path,
    context: Context,
    *,
    include_anywhere: bool = False,
    shared: bool = True,
    progress: Callable[[float], None] = lambda _share: None,
) -> Zone:
    """The zone of a master file, which is named to `context` with all that it includes.

    `shared`: others may get the same object, so that it must not change.  `progress` is told from time to time how much
    of the file is read.  Raises ConfigErrors, each with file and line.
    """
    path = context.path(file)
    present = last_good(origin, path, include_anywhere=include_anywhere) if shared else None
    if present is not None and is_as_read(present, context):
        return present
    zone = _Reader(origin, context, path.parent, include_anywhere, progress).load(path)
    if shared:
        _loaded[zone.origin, path, include_anywhere] = zone
    return zone


def is_as_read(zone: Zone, context: Context) -> bool:
    """Are a zone's files as they were when it was read?  Then they are named to `context`, as when they are read."""
    if any(stamp_of(each) != stamp for each, stamp in zone.files.items()):
        return False
    context.files.update(zone.files)
    for warning in zone.warnings:
        context.warn(warning)
    return True


def last_good(origin: dns.name.Name, path: Path, *, include_anywhere: bool = False) -> Zone | None:
    """What was last read from that file and still is in use."""
    return _loaded.get((origin.to_digestable(), path, include_anywhere))


class _Reader:
    """Reads one zone."""

    def __init__(
        self,
        origin: dns.name.Name,
        context: Context,
        folder: Path,
        include_anywhere: bool,
        progress: Callable[[float], None],
    ) -> None:
        self._progress = progress
        self._origin = wire_name(origin)
        self._context = context
        self._folder = folder
        self._include_anywhere = include_anywhere
        self._files: set[Path] = set()
        self._ttls = Ttls()
        self._may_generate = generate.MAX_LINES
        self._builder = ZoneBuilder(self._origin.lower())

    def load(self, path: Path) -> Zone:
        self._read(path, self._origin, 0)
        files = {each: stamp for each, stamp in self._context.files.items() if each in self._files}
        zone = self._builder.finish(path, files)
        for warning in zone.warnings:
            self._context.warn(warning)
        return zone

    def _read(self, path: Path, origin: bytes, depth: int) -> None:
        try:
            data = self._context.read_bytes(path)
        except ConfigError as error:
            raise ConfigErrors([*self._builder.mistakes, error]) from None
        self._files.add(path)
        # What programs of Windows put at the begin of a file and at the ends of lines.
        data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
        position = Position(NameReader(origin), None, self._ttls)
        at, number, told = 0, 1, 0
        while at < len(data):
            if depth == 0 and at - told >= STRETCH // 2:
                told = at
                self._progress(at / len(data))
            end = self._plain_end(data, at)
            if end > at:
                lines = data[at:end].split(b"\n")
                lines.pop()  # what is behind the last line's end
                self._plain(lines, position, path, number)
                number += len(lines)
                at = end
            else:
                entry = self._entry_at(data, at, Line(path, number))
                self._entry(entry, position, Line(path, number), depth)
                number += data.count(b"\n", at, at + entry.size)
                at += entry.size

    @staticmethod
    def _plain_end(data: bytes, start: int) -> int:
        """Where the lines from `start` on that hold only what plain ones do end."""
        limit = start + STRETCH
        found = NOT_PLAIN.search(data, start, limit)
        return data.rfind(b"\n", start, limit if found is None else found.start()) + 1

    def _plain(self, lines: list[bytes], position: Position, path: Path, number: int) -> None:
        """Lines without anything special: those that `plain_lines` leaves are entries of one line."""
        at = 0
        while True:
            at = plain_lines.read(lines, at, position, self._builder, path, number + at)
            if at == len(lines):
                return
            line = Line(path, number + at)
            self._entry(self._entry_at(lines[at], 0, line), position, line, 0)
            at += 1

    def _entry_at(self, data: bytes, at: int, line: Line) -> Entry:
        try:
            return entry_at(data, at)
        except Unreadable as error:
            raise self._end(error, line) from None

    def _entry(self, entry: Entry, position: Position, line: Line, depth: int) -> None:
        if not entry.words:
            return
        is_directive = entry.words[0].startswith(b"$") and not entry.indented
        try:
            if is_directive:
                self._directive(entry, position, line, depth)
            else:
                self._record(entry, position, line)
        except ConfigErrors:
            raise
        except Exception as error:  # whatever dnspython raises of an rdata: this zone alone can't be read
            if is_directive:  # what follows may depend on it
                raise self._end(error, line) from None
            self._builder.mistake(str(error) or type(error).__name__, line)

    def _end(self, error: Exception, line: Line) -> ConfigErrors:
        said = str(error) or type(error).__name__
        return ConfigErrors([*self._builder.mistakes, ConfigError(said, file=line.file, line=line.number)])

    # Records

    def _record(self, entry: Entry, position: Position, line: Line) -> None:
        words = entry.words
        if not entry.indented:
            position.owner = position.names.read(words[0])
        if position.owner is None:
            raise Unreadable("the first record has no name")
        ttl, rdtype, at = read_header(words, int(not entry.indented))
        if ttl is not None:
            self._ttls.last = ttl
        try:
            value = self._rdata(rdtype, entry, at, position.names, line)
        except (dns.exception.DNSException, ValueError, OverflowError, LookupError) as error:
            said = str(error) if isinstance(error, Malformed) else rdata.expectation(rdtype, entry.text(at))
            raise Unreadable(f"{type_text(rdtype)}: {said}") from None
        if ttl is None:
            ttl = self._ttls.current
        if ttl is None:
            if rdtype != wire.SOA:
                raise Unreadable("no TTL, and no $TTL before it")
            # Before RFC 2308 the SOA's MINIMUM was the default.
            ttl = self._ttls.default = min(int.from_bytes(value[-4:]), MAX_TTL)
        self._builder.add(position.owner, rdtype, ttl, value, line)

    def _rdata(self, rdtype: int, entry: Entry, at: int, names: NameReader, line: Line) -> bytes:
        """Raises DNSException, ValueError, and what else dnspython raises."""
        ours: Exception | None = None
        if rdtype in rdata.FIELDS:
            try:
                return rdata.to_wire(rdtype, entry.words[at:], names.read)
            except (ValueError, LookupError, OverflowError, dns.exception.DNSException) as error:
                # Not by the table of fields: dnspython reads it, where it knows the type.
                if entry.words[at : at + 1] != [rdata.GENERIC]:
                    if rdata.is_ours_alone(rdtype):
                        raise
                    ours = error
        origin = dns.name.from_wire(names.origin, 0)[0]
        if rdtype in svcb.TYPES:
            value, warnings = svcb.to_wire(rdtype, entry, at, origin)
            for warning in warnings:
                self._builder.warning(f"{type_text(rdtype)}: {warning}", line)
            return value
        try:
            return rdata.by_dnspython(rdtype, entry.text(at), origin)
        except Exception:  # dnspython raises what its parsers meet
            if isinstance(ours, Malformed):  # which says what is wrong
                raise ours from None
            raise

    # Directives

    def _directive(self, entry: Entry, position: Position, line: Line, depth: int) -> None:
        word, values = entry.words[0].upper(), entry.words[1:]
        if word == b"$GENERATE":
            self._generate(entry, position, line)
            return
        if word not in (b"$TTL", b"$ORIGIN", b"$INCLUDE"):
            raise Unreadable(f"{shortened(word.decode(errors='replace'))} is no directive that is known here")
        if not values or len(values) > (2 if word == b"$INCLUDE" else 1):
            raise Unreadable(f"{word.decode()}: expected one value, got {len(values)}")
        if word == b"$TTL":
            self._ttls.default = read_ttl(values[0])
        elif word == b"$ORIGIN":
            position.names = NameReader(position.names.read(values[0]))
        else:
            self._include(values, position.names, line, depth)

    def _generate(self, directive: Entry, position: Position, line: Line) -> None:
        for each in generate.generated(directive, self._may_generate):
            self._may_generate -= 1
            self._record(entry_at(each, 0), position, line)
        if generate.cuts_a_text(directive):
            self._builder.warning("$GENERATE: the quotes hold several strings, as BIND reads them", line)

    def _include(self, values: list[bytes], names: NameReader, line: Line, depth: int) -> None:
        """RFC 1035 section 5.1: the origin of the included file ends with it."""
        name = os.fsdecode(rdata.unescaped(values[0].removeprefix(b'"')))
        inner = names.read(values[1]) if len(values) > 1 else names.origin
        said = shortened(name)
        if depth == MAX_DEPTH:
            raise Unreadable(f"$INCLUDE {said}: more than {MAX_DEPTH} files deep")
        path = Path(os.path.normpath(line.file.parent / name))
        if not self._include_anywhere and not path.is_relative_to(os.path.normpath(self._folder)):
            raise Unreadable(f"$INCLUDE {said}: is not in the folder of the zone file (option include_anywhere)")
        try:
            is_there = path.is_file()
        except OSError as error:  # a name that is too long, a folder that may not be read
            raise Unreadable(f"$INCLUDE {said}: {error.strerror}") from None
        if not is_there:
            self._context.path(path)  # so that a reload knows when it is there
            raise Unreadable(f"$INCLUDE: there is no file {path}")
        self._read(path, inner, depth + 1)

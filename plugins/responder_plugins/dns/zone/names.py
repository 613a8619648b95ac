"""Names as master files write them, to wire form (RFC 1035 section 5.1)."""

from __future__ import annotations

import dns.exception
import dns.name

from ..message import wire
from .words import Malformed, shown

MAX_KNOWN = 4096

_REASONS: dict[type[Exception], str] = {
    dns.name.EmptyLabel: ": a label is empty",
    dns.name.LabelTooLong: ": a label is longer than 63 bytes",
    dns.name.NameTooLong: ": it is longer than 255 bytes",
    dns.name.BadEscape: ": an escape is wrong",
}


class NameReader:
    """Names relative to one origin, in wire form as it is spelled; the last ones are remembered."""

    def __init__(self, origin: bytes) -> None:
        self.origin = origin
        self._known: dict[bytes, bytes] = {b"@": origin}

    def read(self, word: bytes) -> bytes:
        """Raises Malformed for what is no name."""
        name = self._known.get(word)
        if name is None:
            name = self._read(word)
            if len(self._known) >= MAX_KNOWN:
                self._known = {b"@": self.origin}
            self._known[word] = name
        return name

    def _read(self, word: bytes) -> bytes:
        if b"\\" in word or not word.isascii() or word[:1] == b'"':
            return self._read_slowly(word)
        labels = word.split(b".")
        rest = self.origin
        if not labels[-1]:
            del labels[-1]
            rest = wire.ROOT
        if not all(0 < len(label) <= wire.MAX_LABEL for label in labels):
            return self._read_slowly(word)
        name = b"".join([bytes((len(label),)) + label for label in labels]) + rest
        return name if len(name) <= wire.MAX_NAME else self._read_slowly(word)

    def _read_slowly(self, word: bytes) -> bytes:
        """With escapes, with letters that IDNA has (RFC 5890), or with a mistake that dnspython tells."""
        try:
            text = word.decode()
        except UnicodeDecodeError:
            text = "".join(chr(byte) if byte < 0x80 else f"\\{byte:03}" for byte in word)
        if text.startswith('"'):
            raise Malformed(f"expected a name, got {shown(text + chr(34))}")
        try:
            return wire_name(dns.name.from_text(text, dns.name.from_wire(self.origin, 0)[0]))
        except dns.exception.DNSException as error:
            raise Malformed(f"{shown(text)} is no name{_REASONS.get(type(error), '')}") from None


def wire_name(name: dns.name.Name) -> bytes:
    """A name in wire form as it is spelled."""
    return b"".join(len(label).to_bytes() + label for label in name.labels)

"""SOAP 1.2 envelopes as values: XML that any peer may have sent, read within bounds.

Documents with a DTD or entities are refused (defusedxml), and so are those that nest or go on too far.  QNames in text,
as Types has them, are read with the prefixes that hold where they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import attrs
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from ..shared.refused import Refused

SOAP: Final = "http://www.w3.org/2003/05/soap-envelope"

MAX_MESSAGE: Final = 16384
"""Bytes of a message that is read; Windows' have some 600 to 1500."""

MAX_DEPTH: Final = 24
MAX_ELEMENTS: Final = 256


@attrs.define(eq=False)
class Element:
    """An element: its tag as {namespace}name, its text before the first child, and the prefixes that hold in it."""

    tag: str
    attributes: Mapping[str, str]
    prefixes: Mapping[str, str]
    text: str = ""
    children: list[Element] = attrs.field(factory=list, init=False)

    def find(self, *path: str) -> Element | None:
        """The first element by that path of tags."""
        element = self
        for tag in path:
            found = next((child for child in element.children if child.tag == tag), None)
            if found is None:
                return None
            element = found
        return element

    def find_text(self, *path: str) -> str:
        """The text of the first element by that path, without spaces around it; "" where there is none."""
        found = self.find(*path)
        return "" if found is None else found.text.strip()

    def qnames(self) -> Iterator[str]:
        """The text as a list of QNames.  Raises Refused for a prefix that stands for nothing."""
        for word in self.text.split():
            prefix, colon, name = word.rpartition(":")
            if prefix not in self.prefixes and colon:
                raise Refused("a prefix that stands for nothing")
            yield f"{{{self.prefixes.get(prefix, '')}}}{name}"


class _Builder:
    """What the parser calls, a target in ElementTree's words; `root` is the outermost element."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0
        self._prefixes: dict[str, str] = {}
        self._declared = False

    def start_ns(self, prefix: str | None, uri: str | None) -> None:
        """Called before the element that the declaration stands in."""
        if not self._declared:
            self._prefixes = dict(self._open[-1].prefixes) if self._open else {}
            self._declared = True
        self._prefixes[prefix or ""] = uri or ""

    def start(self, tag: str, attributes: Mapping[str, str]) -> Element:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise Refused("too many elements, or too deep")
        prefixes: Mapping[str, str] = {}
        if self._declared:
            prefixes = self._prefixes
        elif self._open:
            prefixes = self._open[-1].prefixes
        self._declared = False
        element = Element(tag, attributes, prefixes)
        if self._open:
            self._open[-1].children.append(element)
        elif self.root is None:
            self.root = element
        self._open.append(element)
        return element

    def end(self, _tag: str) -> Element:
        return self._open.pop()

    def data(self, text: str) -> None:
        if self._open and not self._open[-1].children:
            self._open[-1].text += text

    def close(self) -> None:
        """Called at the end."""


def read(payload: bytes) -> tuple[Element, Element]:
    """The header and the body of an envelope.  Raises Refused."""
    if len(payload) > MAX_MESSAGE:
        raise Refused(f"{len(payload)} bytes, more than {MAX_MESSAGE}")
    builder = _Builder()
    parser = DefusedXMLParser(target=builder, forbid_dtd=True)
    try:
        parser.feed(payload)
        parser.close()
    except Refused:
        raise
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        # The latter two: encodings that the parser can't read.
        raise Refused(f"no XML: {error}") from None
    root = builder.root
    if root is None or root.tag != f"{{{SOAP}}}Envelope":
        raise Refused("no SOAP envelope")
    header, body = root.find(f"{{{SOAP}}}Header"), root.find(f"{{{SOAP}}}Body")
    if header is None or body is None:
        raise Refused("an envelope without header and body")
    return header, body

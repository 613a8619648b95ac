"""WS-Discovery's messages, of 2005/04, which Windows speaks, and of 2009/01: bytes and values.

The two differ in their namespaces and little else, so what is answered has the version of what was asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4
from xml.sax.saxutils import escape, quoteattr

import attrs

from ..shared.refused import Refused
from .soap import SOAP, Element, read

PORT: Final = 3702
MESSAGE_ID: Final = re.compile(r'[^\s<>"&]{1,256}')
"""A MessageID that is related to.

No URI has spaces, quotes or angle brackets (RFC 3986), and IDs that are UUIDs have no "&".  Written as XML, such a
character would lengthen the answer by up to five bytes.
"""

MAX_SCOPES: Final = 64
"""Scopes that a Probe may ask for: each is compared with all of the endpoint's."""


@attrs.frozen
class Version:
    """A version's namespaces, the address that multicasts go to, and that of who asks."""

    discovery: str
    addressing: str
    devices: str
    to: str

    @property
    def anonymous(self) -> str:
        middle = "/role" if "2004" in self.addressing else ""
        return f"{self.addressing}{middle}/anonymous"


V2005: Final = Version(
    "http://schemas.xmlsoap.org/ws/2005/04/discovery",
    "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "http://schemas.xmlsoap.org/ws/2006/02/devprof",
    "urn:schemas-xmlsoap-org:ws:2005:04:discovery",
)
V2009: Final = Version(
    "http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01",
    "http://www.w3.org/2005/08/addressing",
    "http://docs.oasis-open.org/ws-dd/ns/dpws/2009/01",
    "urn:docs-oasis-open-org:ws-dd:ns:discovery:2009:01",
)
VERSIONS: Final = (V2005, V2009)


@attrs.frozen
class Probe:
    """What is looked for: types as {namespace}name, scopes with the rule to compare them by; none: anything."""

    version: Version
    message_id: str
    types: frozenset[str]
    scopes: tuple[str, ...]
    rule: str


@attrs.frozen
class Resolve:
    """Which endpoint's addresses are looked for."""

    version: Version
    message_id: str
    endpoint: str


@attrs.frozen
class Match:
    """What a ProbeMatch or ResolveMatch tells, and a Hello."""

    endpoint: str
    types: tuple[str, ...]
    scopes: tuple[str, ...]
    xaddrs: tuple[str, ...]
    metadata_version: int


@attrs.frozen
class Matches:
    """Others' answer: to which message, and what."""

    relates_to: str
    found: tuple[Match, ...]


def read_message(payload: bytes) -> Probe | Resolve | Matches | None:
    """None for what else is said on the groups: Hello, Bye, and messages of other protocols.  Raises Refused."""
    header, body = read(payload)
    for version in VERSIONS:
        action = header.find_text(f"{{{version.addressing}}}Action")
        namespace, _, kind = action.rpartition("/")
        if namespace == version.discovery:
            return _of_kind(kind, version, header, body)
    return None


def describe(payload: bytes) -> dict[str, str | int]:
    """A message in words: its action, and the types that are looked for, or the endpoint.  Raises Refused."""
    header, body = read(payload)
    for version in VERSIONS:
        namespace, _, kind = header.find_text(f"{{{version.addressing}}}Action").rpartition("/")
        if namespace == version.discovery:
            wsd, wsa = f"{{{version.discovery}}}", f"{{{version.addressing}}}"
            words: dict[str, str | int] = {"action": kind}
            content = body.find(f"{wsd}{kind}")
            if content is not None:
                told = {
                    "types": content.find_text(f"{wsd}Types"),
                    "endpoint": content.find_text(f"{wsa}EndpointReference", f"{wsa}Address"),
                }
                words.update({name: text for name, text in told.items() if text})
            return words
    return {}


def _of_kind(kind: str, version: Version, header: Element, body: Element) -> Probe | Resolve | Matches | None:
    wsd, wsa = f"{{{version.discovery}}}", f"{{{version.addressing}}}"
    message_id = read_message_id(header, version) if kind in ("Probe", "Resolve") else ""
    content = body.find(f"{wsd}{kind}")
    if kind in ("Hello", "Bye"):
        return None
    if content is None:
        raise Refused(f"a body without what the action says: {kind[:40]!r}")
    if kind == "Probe":
        types, scopes = content.find(f"{wsd}Types"), content.find(f"{wsd}Scopes")
        rule = "" if scopes is None else scopes.attributes.get("MatchBy", "")
        asked = () if scopes is None else tuple(scopes.text.split())
        if len(asked) > MAX_SCOPES:
            raise Refused(f"{len(asked)} scopes, more than {MAX_SCOPES}")
        return Probe(
            version,
            message_id,
            frozenset() if types is None else frozenset(types.qnames()),
            asked,
            rule.removeprefix(f"{version.discovery}/"),
        )
    if kind == "Resolve":
        return Resolve(version, message_id, content.find_text(f"{wsa}EndpointReference", f"{wsa}Address"))
    if kind in ("ProbeMatches", "ResolveMatches"):
        one = f"{wsd}{kind.removesuffix('es')}"
        found = tuple(_match(each, wsd, wsa) for each in content.children if each.tag == one)
        return Matches(header.find_text(f"{wsa}RelatesTo"), found)
    return None


def read_message_id(header: Element, version: Version) -> str:
    """Raises Refused where there is none that could be related to."""
    message_id = header.find_text(f"{{{version.addressing}}}MessageID")
    if not MESSAGE_ID.fullmatch(message_id):
        raise Refused("no MessageID that could be related to")
    return message_id


def _match(element: Element, wsd: str, wsa: str) -> Match:
    types = element.find(f"{wsd}Types")
    version = element.find_text(f"{wsd}MetadataVersion")
    return Match(
        element.find_text(f"{wsa}EndpointReference", f"{wsa}Address"),
        () if types is None else tuple(types.qnames()),
        tuple(element.find_text(f"{wsd}Scopes").split()),
        tuple(element.find_text(f"{wsd}XAddrs").split()),
        int(version) if version.isascii() and version.isdigit() and len(version) < 11 else 0,
    )


def scopes_match(probe: Probe, scopes: Sequence[str]) -> bool:
    """Does each scope that is asked for match one of ours (WS-Discovery 1.1 section 5.1)?  Unknown rules match none."""
    if probe.rule == "none":
        return not scopes
    if probe.rule in ("", "rfc3986", "rfc2396"):
        parsed = [_read_scope(own) for own in scopes]
        return all(any(asked.is_prefix_of(own) for own in parsed) for asked in map(_read_scope, probe.scopes))
    if probe.rule == "uuid":
        return {asked.lower() for asked in probe.scopes} <= {own.lower() for own in scopes}
    return probe.rule == "strcmp0" and set(probe.scopes) <= set(scopes)


@attrs.frozen
class _Scope:
    """A scope as RFC 3986's rule compares it: scheme and authority in lower case, the path's segments decoded.

    A query or fragment has no part.  `is_comparable`: a path with "." or ".." matches none, nor does what is no URI.
    """

    place: tuple[str, str]
    segments: tuple[str, ...]
    is_comparable: bool

    def is_prefix_of(self, own: _Scope) -> bool:
        if not (self.is_comparable and own.is_comparable) or self.place != own.place:
            return False
        return own.segments[: len(self.segments)] == self.segments


@lru_cache(256)
def _read_scope(text: str) -> _Scope:
    try:
        parts = urlsplit(text)
    except ValueError:
        return _Scope(("", ""), (), is_comparable=False)
    path = parts.path.rstrip("/")
    segments = tuple(map(unquote, path.split("/"))) if path else ()
    is_comparable = parts.scheme != "" and not {".", ".."} & {*segments}
    return _Scope((parts.scheme.lower(), parts.netloc.lower()), segments, is_comparable)


# Writing


@attrs.define
class Writer:
    """Writes messages.  `instance_id` grows with each start; messages are numbered (AppSequence)."""

    instance_id: int
    number: int = 0

    def hello(self, version: Version, match: Match) -> bytes:
        """WS-Discovery 1.1 section 4.1."""
        content = f"<wsd:Hello>{_described(match)}</wsd:Hello>"
        return self._message(version, "Hello", content, match.types)

    def bye(self, version: Version, endpoint: str) -> bytes:
        """Section 4.2."""
        return self._message(version, "Bye", f"<wsd:Bye>{_reference(endpoint)}</wsd:Bye>")

    def matches(self, asked: Probe | Resolve, match: Match) -> bytes:
        """The answer to a probe or resolve (sections 5.3, 6.3)."""
        kind = "ProbeMatch" if isinstance(asked, Probe) else "ResolveMatch"
        content = f"<wsd:{kind}es><wsd:{kind}>{_described(match)}</wsd:{kind}></wsd:{kind}es>"
        return self._message(asked.version, f"{kind}es", content, match.types, relates_to=asked.message_id)

    def _message(
        self, version: Version, kind: str, content: str, types: Iterable[str] = (), *, relates_to: str | None = None
    ) -> bytes:
        self.number += 1
        sequence = f'<wsd:AppSequence InstanceId="{self.instance_id}" MessageNumber="{self.number}"/>'
        to = version.to if relates_to is None else version.anonymous
        action = f"{version.discovery}/{kind}"
        namespaces = [("wsd", version.discovery), *prefixes_of(types).values()]
        return write_envelope(version, action, sequence, content, to=to, relates_to=relates_to, namespaces=namespaces)


def write_probe(version: Version, message_id: str, types: Sequence[str] = ()) -> bytes:
    """Section 5.2."""
    wanted = f"<wsd:Types>{_qnames(types)}</wsd:Types>" if types else ""
    namespaces = [("wsd", version.discovery), *prefixes_of(types).values()]
    return write_envelope(
        version,
        f"{version.discovery}/Probe",
        "",
        f"<wsd:Probe>{wanted}</wsd:Probe>",
        to=version.to,
        message_id=message_id,
        namespaces=namespaces,
    )


def write_envelope(
    version: Version,
    action: str,
    header: str,
    content: str,
    *,
    to: str,
    message_id: str | None = None,
    relates_to: str | None = None,
    namespaces: Iterable[tuple[str, str]] = (),
) -> bytes:
    """An envelope; `header` and `content` are XML."""
    declared = "".join(f" xmlns:{prefix}={quoteattr(uri)}" for prefix, uri in dict(namespaces).items())
    related = "" if relates_to is None else f"<wsa:RelatesTo>{escape(relates_to)}</wsa:RelatesTo>"
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<soap:Envelope xmlns:soap="{SOAP}" xmlns:wsa="{version.addressing}"{declared}><soap:Header>'
        f"<wsa:To>{escape(to)}</wsa:To><wsa:Action>{escape(action)}</wsa:Action>"
        f"<wsa:MessageID>{escape(message_id or uuid4().urn)}</wsa:MessageID>{related}{header}"
        f"</soap:Header><soap:Body>{content}</soap:Body></soap:Envelope>"
    ).encode()


PREFIXES: Final = {
    V2005.devices: "wsdp",
    V2009.devices: "wsdp",
    "http://schemas.microsoft.com/windows/pub/2005/07": "pub",
}
"""Those that everybody uses: some clients, such as wsdd 0.7, compare prefixes."""


def prefixes_of(types: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A prefix and its namespace for each namespace of those types, by namespace."""
    namespaces = dict.fromkeys(each[1:].partition("}")[0] for each in types)
    return {uri: (PREFIXES.get(uri, f"t{number}"), uri) for number, uri in enumerate(namespaces)}


def _qnames(types: Sequence[str]) -> str:
    prefixes = prefixes_of(types)
    words = []
    for each in types:
        uri, _, name = each[1:].partition("}")
        words.append(f"{prefixes[uri][0]}:{name}")
    return " ".join(words)


def _reference(endpoint: str) -> str:
    return f"<wsa:EndpointReference><wsa:Address>{escape(endpoint)}</wsa:Address></wsa:EndpointReference>"


def _described(match: Match) -> str:
    parts = [_reference(match.endpoint)]
    if match.types:
        parts.append(f"<wsd:Types>{_qnames(match.types)}</wsd:Types>")
    if match.scopes:
        parts.append(f"<wsd:Scopes>{escape(' '.join(match.scopes))}</wsd:Scopes>")
    if match.xaddrs:
        parts.append(f"<wsd:XAddrs>{escape(' '.join(match.xaddrs))}</wsd:XAddrs>")
    parts.append(f"<wsd:MetadataVersion>{match.metadata_version}</wsd:MetadataVersion>")
    return "".join(parts)

"""SkyDNS' layout: a key as /skydns/test/cluster/web/x1 is the name x1.web.cluster.test, its value a service in JSON.

    {"host": "192.0.2.1", "port": 8080, "priority": 20, "weight": 5, "text": "...", "mail": true, "ttl": 60,
     "targetstrip": 1, "group": "g1"}

A name has the records of the services below it, or, where there are none, of its own one.  `records` says which, as
CoreDNS' plugin etcd does; its README and source are the only specification.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

import attrs
import dns.exception
import dns.name

from ..message import wire
from ..zone.rules import LONGEST
from ..zone.tables import Sets

DEFAULT_TTL: Final = 300
DEFAULT_PRIORITY: Final = 10
DEFAULT_WEIGHT: Final = 100

MAX_VALUE: Final = 65536
"""Bytes of a value."""

MAX_TTL: Final = 2**31 - 1

_RECORD_HEAD: Final = 12
"""Bytes of a record beside its rdata and with its name compressed."""


@attrs.frozen
class KeyedService:
    """What a value says.

    address  where `host` is one: its bytes, 4 or 16
    target   where it is a name, in wire form; empty: it is neither
    port     -1: it has no SRV record
    weight   0: none is said, as with priority, TTL and strip
    """

    address: bytes = b""
    target: bytes = b""
    port: int = 0
    priority: int = DEFAULT_PRIORITY
    weight: int = 0
    text: bytes = b""
    mail: bool = False
    ttl: int = DEFAULT_TTL
    strip: int = 0
    group: str = ""


Placed: TypeAlias = tuple[bytes, KeyedService]
"""A service with the name that its key means."""


def read_name(key: bytes, prefix: bytes) -> bytes:
    """The name in wire form that a key below the prefix means.  Raises ValueError."""
    labels = key[len(prefix) :].split(b"/")
    name = b"\0"
    for label in labels:
        if not label:
            raise ValueError("an empty label")
        if len(label) > 63:
            raise ValueError("a label of more than 63 bytes")
        if b"." in label or label != label.lower():
            raise ValueError("a label with a dot or a capital letter: CoreDNS finds none by it")
        name = bytes((len(label),)) + label + name
    if len(name) > wire.MAX_NAME:
        raise ValueError("a name of more than 255 bytes")
    return name


def read_object(content: bytes) -> dict[str, Any]:
    """A JSON object.  Raises ValueError, which says what is wrong."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - of the content, not of our code
    return found


def read_value(value: bytes) -> KeyedService:
    """Raises ValueError, which says what is wrong."""
    if len(value) > MAX_VALUE:
        raise ValueError(f"a value of {len(value)} bytes")
    given = {key.lower(): each for key, each in read_object(value).items()}  # as Go's decoder has it
    host = _text(given, "host")
    text = _text(given, "text").encode()
    address, target = b"", b""
    if host:
        try:
            found = ip_address(host)
            if found.version == 6 and found.ipv4_mapped is not None:
                found = found.ipv4_mapped
            address = found.packed
        except ValueError:
            target = b"" if text else read_target(host)
    elif not text:
        raise ValueError("neither host nor text")
    return KeyedService(
        address,
        target,
        _number(given, "port", -1, 0xFFFF),
        _number(given, "priority", 0, 0xFFFF) or DEFAULT_PRIORITY,
        _number(given, "weight", 0, 0xFFFF),
        b"" if address else text,  # beside an address it is a remark
        _flag(given, "mail"),
        _number(given, "ttl", 0, MAX_TTL) or DEFAULT_TTL,
        _number(given, "targetstrip", 0, 127),
        _text(given, "group"),
    )


def read_target(text: str) -> bytes:
    """A domain name, always a whole one, in wire form.  Raises ValueError."""
    try:
        found = dns.name.from_text(text)
    except (dns.exception.DNSException, ValueError):
        raise ValueError("host is neither an address nor a domain name") from None
    return found.to_digestable()


def _text(given: Mapping[str, Any], field: str) -> str:
    value = given.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{field} is no text")  # noqa: TRY004 - as above
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{field} is no Unicode text") from None
    return value


def _number(given: Mapping[str, Any], field: str, low: int, high: int) -> int:
    value = given.get(field)
    if value is None:
        return 0
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{field} is no integer from {low} to {high}")
    return value


def _flag(given: Mapping[str, Any], field: str) -> bool:
    value = given.get(field)
    if value not in (None, True, False):
        raise ValueError(f"{field} is neither true nor false")
    return bool(value)


def grouped(services: Sequence[Placed]) -> Sequence[Placed]:
    """Those of the group that the shortest key is in, and those of none; `services` are in the order of their keys.

    All, where the first key is in no group, or where several of the shortest disagree.
    """
    if not any(service.group for _, service in services):
        return services
    first, labels = services[0][1], [_labels(name) for name, _ in services]
    group, shortest = first.group, labels[0]
    for count, (_, service) in zip(labels, services, strict=True):
        if count < shortest:
            if not service.group:
                break
            group, shortest = service.group, count
    if not group:
        return services
    if any(
        service.group not in ("", group) and count == shortest
        for count, (_, service) in zip(labels, services, strict=True)
    ):
        return services
    return [placed for placed in services if placed[1].group in ("", group)]


def _labels(name: bytes) -> int:
    return sum(1 for _ in wire.suffixes(name))


def records(owner: bytes, services: Sequence[Placed], own: KeyedService | None, *, reverse: bool) -> Sets:
    """The RRsets of a name.

    services  those below it, or else its own one
    own       the one whose key is the name
    reverse   it is in a reverse zone, where names of hosts are PTR records
    """
    chosen = grouped(services)
    sets: Sets = {}
    if reverse:
        if own is not None and own.target:
            _put(sets, wire.PTR, [(own.ttl, own.target)])
    else:
        for rdtype, size in ((wire.A, 4), (wire.AAAA, 16)):
            _put(sets, rdtype, [(each.ttl, each.address) for _, each in chosen if len(each.address) == size])
        _put(sets, wire.SRV, _srv(chosen))
        _put(sets, wire.MX, _mx(chosen))
        targets = {each.target: each.ttl for _, each in chosen if each.target}
        # One alias, which leads away, and no addresses beside it.
        leading = not any(each.address for _, each in chosen) and not any(
            wire.is_below(each, owner) for each in targets
        )
        if len(targets) == 1 and leading:
            _put(sets, wire.CNAME, [(ttl, target) for target, ttl in targets.items()])
    _put(sets, wire.TXT, [(each.ttl, _txt(each.text)) for _, each in chosen if each.text])
    return sets


def servers(services: Sequence[Placed]) -> list[tuple[int, bytes]]:
    """TTL and rdata of NS records: the names of those that have addresses."""
    return [(each.ttl, _target(name, each)) for name, each in grouped(services) if each.address]


def _srv(services: Sequence[Placed]) -> Iterator[tuple[int, bytes]]:
    """Weights are shares of 100 among those of one priority."""
    hosts = [placed for placed in services if placed[1].address or placed[1].target]
    sums: Counter[int] = Counter()
    for _, each in hosts:
        sums[each.priority] += each.weight or DEFAULT_WEIGHT
    for name, each in hosts:
        if each.port == -1:
            continue
        weight = max(100 * (each.weight or DEFAULT_WEIGHT) // sums[each.priority], 1)
        head = each.priority.to_bytes(2) + weight.to_bytes(2) + each.port.to_bytes(2)
        yield each.ttl, head + _target(name, each)


def _mx(services: Iterable[Placed]) -> Iterator[tuple[int, bytes]]:
    for name, each in services:
        if each.mail and (each.address or each.target):
            yield each.ttl, each.priority.to_bytes(2) + _target(name, each)


def _target(name: bytes, service: KeyedService) -> bytes:
    """Where a service is: the name that it says, or that its key means, without `strip` of its first labels."""
    target = service.target or name
    stripped = target
    for _ in range(service.strip):
        if stripped == wire.ROOT:
            return target
        stripped = wire.parent(stripped)
    return target if stripped == wire.ROOT else stripped


def _txt(text: bytes) -> bytes:
    parts = [text[at : at + 255] for at in range(0, len(text), 255)]
    return b"".join(bytes((len(part),)) + part for part in parts)


def _put(sets: Sets, rdtype: int, found: Iterable[tuple[int, bytes]]) -> None:
    """As many as a message can hold, each once, with the lowest TTL (RFC 2181 section 5.2)."""
    ttls: dict[bytes, int] = {}
    size = 0
    for ttl, rdata in found:
        if rdata not in ttls:
            size += len(rdata) + _RECORD_HEAD
            if size > LONGEST:
                break
        ttls[rdata] = min(ttl, ttls.get(rdata, ttl))
    if ttls:
        sets[rdtype, 0] = min(ttls.values()), list(ttls)

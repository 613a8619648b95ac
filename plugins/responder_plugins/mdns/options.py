"""What the config says about a host and its services, with the rules that DNS-SD has for their values.

A table of a service is read the same way wherever it stands, in the config or in a file of `services_dir`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from responder import ConfigError, ConfigErrors, IPAddress
from responder_plugins.shared.dns_message import MAX_LABEL

from .names import composed, from_text, local, type_labels

TYPE: Final = re.compile(r"_[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\._(?:tcp|udp)", re.IGNORECASE)
"""A service's name and its transport (RFC 6763 section 7).  Its limit of 15 characters is not held: longer types are in
use."""

TXT_KEY: Final = re.compile(r"[\x20-\x3c\x3e-\x7e]+")
"""RFC 6763 section 6.4: printable, and no "="."""

MAX_STRING: Final = 255
"""Bytes of a key with its value (RFC 6763 section 6.1)."""

MAX_TXT: Final = 8192
"""Bytes of a TXT record; with its names it still goes into the largest message (RFC 6762 section 17)."""


def check_label(text: str) -> None:
    """Raises ValueError for what is no label that people can read: it is 1 to 63 bytes of UTF-8, printable."""
    size = len(text.encode(errors="surrogatepass"))
    if not 0 < size <= MAX_LABEL:
        raise ValueError(f"expected 1..{MAX_LABEL} bytes of UTF-8, got {size}")
    if not all(character.isprintable() or character == " " for character in text):
        raise ValueError(f"expected text without control characters, got {text!r}")


def _is_label(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        check_label(value)
    except ValueError as error:
        raise ValueError(f"{attribute.name}: {error}") from None


def is_host_label(_instance: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    """An attrs validator: None, nothing, or one label of a host's name."""
    if not value:
        return
    if "." in value:
        raise ValueError(f"{attribute.name}: expected a name without dots (`lab` becomes lab.local), got {value!r}")
    _is_label(_instance, attribute, value)


def _is_type(_instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not TYPE.fullmatch(value):
        raise ValueError(f"{attribute.name}: expected a type such as _http._tcp, got {value!r}")


def _is_port(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not 0 <= value <= 0xFFFF:
        raise ValueError(f"{attribute.name}: expected a port (0..65535; 0: the name alone is taken), got {value}")


def _is_base64(_instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{attribute.name}: expected base64, got {value!r}") from None


@attrs.frozen
class Bytes:
    """A TXT value that is no text; in the config `{ base64 = "..." }`.

    base64  the value's bytes in base64
    """

    base64: str = attrs.field(validator=_is_base64)

    @property
    def value(self) -> bytes:
        return base64.b64decode(self.base64)


TxtValue: TypeAlias = str | bool | Bytes


def _txt_string(key: str, value: TxtValue) -> bytes:
    """Raises ValueError."""
    if not TXT_KEY.fullmatch(key):
        raise ValueError(f"expected a key of printable ASCII without '=', got {key!r}")
    if value is False:
        raise ValueError("expected text, true (a key without a value) or { base64 = ... }; leave the key out instead")
    if value is True:
        string = key.encode()
    else:
        string = key.encode() + b"=" + (value.value if isinstance(value, Bytes) else value.encode())
    if len(string) > MAX_STRING:
        raise ValueError(f"a key with its value has {MAX_STRING} bytes at most, this one {len(string)}")
    return string


def _is_txt(_instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, TxtValue]) -> None:
    errors, seen, size = [], set[str](), 0
    for key, each in value.items():
        try:
            if key.lower() in seen:
                raise ValueError("the key is there twice: case makes no difference")  # noqa: TRY301 - one list of errors
            seen.add(key.lower())
            size += 1 + len(_txt_string(key, each))
        except ValueError as error:
            errors.append(ConfigError(str(error), path=key))
    if errors:
        raise ConfigErrors(errors)
    if size > MAX_TXT:
        raise ValueError(f"{attribute.name}: {size} bytes in all, {MAX_TXT} are the most")


def _all_composed(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(composed, values))


def _are_subtypes(_instance: object, attribute: attrs.Attribute[Any], value: Sequence[str]) -> None:
    for each in value:
        try:
            check_label(each)
        except ValueError as error:
            raise ValueError(f"{attribute.name}: {error}") from None


def _is_host_name(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if value:
        try:
            from_text(value)
        except ValueError as error:
            raise ValueError(f"{attribute.name}: expected a host's name such as other.local: {error}") from None


def _are_addresses(_instance: object, attribute: attrs.Attribute[Any], value: Sequence[IPAddress]) -> None:
    for each in value:
        if each.is_multicast or each.is_unspecified or each.is_loopback:
            raise ValueError(f"{attribute.name}: expected addresses that others can reach, got {each}")


@attrs.frozen
class ServiceOptions:
    """A service (RFC 6763).

    name       of the instance, as people read it: UTF-8, up to 63 bytes
    type       its protocol and transport, such as "_http._tcp"
    port       where it is; 0: nowhere, the name alone is taken
    txt        what else is told of it: text, true (a key without a value), or bytes as { base64 = "..." }
    subtypes   what it can be found as besides, such as "_printer"
    host       the host that it is on, such as "other.local"; this one where it is left out
    addresses  of that host, which then is answered for here; without them the host answers for itself
    """

    name: str = attrs.field(converter=composed, validator=_is_label)
    type: str = attrs.field(validator=_is_type)
    port: int = attrs.field(validator=_is_port)
    txt: dict[str, TxtValue] = attrs.field(factory=dict, validator=_is_txt)
    subtypes: tuple[str, ...] = attrs.field(default=(), converter=_all_composed, validator=_are_subtypes)
    host: str = attrs.field(default="", converter=composed, validator=_is_host_name)
    addresses: tuple[IPAddress, ...] = attrs.field(default=(), converter=tuple, validator=_are_addresses)

    def __attrs_post_init__(self) -> None:
        if self.addresses:
            if not self.host:
                raise ValueError("addresses: they are those of `host`, which is left out; this host's own are known")
            if self.host_name != local(self.host_label):
                raise ValueError(f"host: expected a name in local, such as other.local, got {self.host!r}")
        for subtype in self.subtypes:
            local(subtype, "_sub", *type_labels(self.type))
        local(self.name, *type_labels(self.type))

    @property
    def key(self) -> str:
        """What tells services apart: the name in full, as configured."""
        return f"{self.name}.{self.type}".lower()

    @property
    def host_name(self) -> bytes:
        """`host` in wire form."""
        return from_text(self.host)

    @property
    def host_label(self) -> str:
        """The first label of `host`."""
        name = self.host_name
        return name[1 : name[0] + 1].decode()

    @property
    def txt_rdata(self) -> bytes:
        """The TXT record, which is never empty (RFC 6763 section 6.1)."""
        strings = [_txt_string(key, value) for key, value in self.txt.items()] or [b""]
        return b"".join(bytes([len(string)]) + string for string in strings)


def are_services(_instance: object, attribute: attrs.Attribute[Any], value: Sequence[ServiceOptions]) -> None:
    """An attrs validator: no instance twice.  Raises ConfigErrors, with each one's path."""
    first: dict[str, int] = {}
    errors = [
        ConfigError(f"{service.type} has it twice, first at [{first[service.key]}]", path=f"[{number}].name")
        for number, service in enumerate(value)
        if first.setdefault(service.key, number) != number
    ]
    if errors:
        raise ConfigErrors(errors)


@attrs.frozen
class Offer:
    """What is to be found: this host's label ("": none) and services."""

    host: str
    services: tuple[ServiceOptions, ...]

    @classmethod
    def of(cls, host: str, services: Sequence[ServiceOptions]) -> Offer:
        """A service that names this host by its own name is on it as one that names none."""
        own = f"{host}.local".lower()
        return cls(
            host,
            tuple(
                attrs.evolve(service, host="", addresses=())
                if host and service.host.lower().removesuffix(".") == own
                else service
                for service in services
            ),
        )

"""What the config says about devices: `Device` and `ServiceType`, with the rules that UPnP has for their values.

Every text that ends up in a header field is checked here, so that no value can add a field of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from responder import ConfigError, ConfigErrors

ADDRESS: Final = "{address}"
"""Put in for the address by which the asking control point reaches this host; IPv6 ones get their brackets."""

UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
"""UDA 2.0 section 1.1.4."""

UDN: Final = re.compile(r"[!#-9;-z|~]{1,64}", re.ASCII)
"""UDA 1.0 took any string behind "uuid:", and devices have such.  A colon would end it in a USN."""

HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}", re.ASCII)
"""The name of a header field (RFC 9110 section 5.6.2)."""

OWN_HEADERS: Final = frozenset(
    {"host", "cache-control", "date", "ext", "location", "server", "st", "usn", "nt", "nts", "opt", "01-nls"}
    | {f"{name}.upnp.org" for name in ("bootid", "nextbootid", "configid", "searchport", "securelocation")}
)
"""What messages say already."""

TYPE: Final = re.compile(r"urn:[A-Za-z0-9.-]+:(device|service):[A-Za-z0-9._-]{1,64}:[1-9][0-9]{0,8}")
"""UDA 2.0 sections 2.3 and 2.5."""

# Section 1.2.2 names 1800 as the least that should be.  Shorter is of use where devices come and go, such as in a lab;
# below a minute the refreshing alone would load a link.
MIN_MAX_AGE: Final = 60
MAX_MAX_AGE: Final = 86400


def is_header_value(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    """An attrs validator: text, not empty, that can be a header field's value."""
    if not value or not value.isprintable() or value != value.strip():
        raise ValueError(f"{attribute.name}: expected printable text without spaces around it, got {value!r}")


def is_text(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    """An attrs validator: text for the description; XML has no place for control characters."""
    if not value.isprintable():
        raise ValueError(f"{attribute.name}: expected printable text, got {value!r}")


def _is_name(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    is_text(instance, attribute, value)
    if not value.strip():
        raise ValueError(f"{attribute.name}: expected some text: UPnP wants every device to have it")


def is_max_age(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    """An attrs validator."""
    if not MIN_MAX_AGE <= value <= MAX_MAX_AGE:
        raise ValueError(f"{attribute.name}: expected {MIN_MAX_AGE}..{MAX_MAX_AGE} seconds, got {value}")


def _is_udn(_instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not UDN.fullmatch(value):
        example = "2fac1234-31f8-11b4-a222-08002b34c003"
        raise ValueError(
            f"{attribute.name}: expected a UUID such as {example} (or, as UPnP 1.0 had it, 1 to 64 ASCII "
            f"characters but spaces, colons, quotes and braces), got {value!r}"
        )


def _are_headers(_instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, str]) -> None:
    seen: set[str] = set()
    for name, text in value.items():
        if not HEADER.fullmatch(name):
            raise ValueError(f"{attribute.name}: {name!r} can't be the name of a header field")
        if name.lower() in OWN_HEADERS:
            raise ValueError(f"{attribute.name}: {name} is said by the plugin itself")
        if name.lower() in seen:
            raise ValueError(f"{attribute.name}: {name} is there twice")
        seen.add(name.lower())
        if not text.isprintable() or text != text.strip():
            raise ValueError(
                f"{attribute.name}: {name}: expected printable text without spaces around it, got {text!r}"
            )


def _is_type(kind: str) -> Any:
    def check(_instance: object, attribute: attrs.Attribute[str], value: str) -> None:
        found = TYPE.fullmatch(value)
        if found is None or found[1] != kind:
            example = f"urn:schemas-upnp-org:{kind}:{'Basic' if kind == 'device' else 'SwitchPower'}:1"
            raise ValueError(f"{attribute.name}: expected a type such as {example}, got {value!r}")

    return check


def _is_url(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    rest = value.replace(ADDRESS, "")
    if not rest.isascii() or not rest.isprintable() or " " in rest or "{" in rest or "}" in rest:
        raise ValueError(f"{attribute.name}: expected a URL, with {ADDRESS} for this host's address, got {value!r}")


def _is_location(instance: object, attribute: attrs.Attribute[str | None], value: str | None) -> None:
    if value is None:
        return
    _is_url(instance, attribute, value)
    if not re.match(r"https?://[^/]", value):
        raise ValueError(f"{attribute.name}: expected a URL that begins with http:// or https://, got {value!r}")


@attrs.frozen
class ServiceType:
    """A service of a device; in the config its type alone will do.

    type     such as "urn:schemas-upnp-org:service:SwitchPower:1"
    scpd     a file with the service's own description; without one a description without any action is made
    control  the URL for actions, `{address}` allowed; events are not offered (see the README on CallStranger)
    """

    type: str = attrs.field(validator=_is_type("service"))
    scpd: Path | None = None
    control: str = attrs.field(default="", validator=_is_url)


def _to_services(values: Iterable[ServiceType | str]) -> tuple[ServiceType, ...]:
    """An attrs converter.  Raises ConfigErrors, with each one's path."""
    services: list[ServiceType] = []
    errors: list[ConfigError] = []
    for number, value in enumerate(values):
        try:
            services.append(ServiceType(value) if isinstance(value, str) else value)
        except ValueError as error:
            errors.append(ConfigError(str(error), path=f"[{number}]"))
    if errors:
        raise ConfigErrors(errors)
    return tuple(services)


def _are_services(_instance: object, attribute: attrs.Attribute[Any], value: Sequence[ServiceType]) -> None:
    names = [service.type.rpartition(":")[0] for service in value]
    for repeated in sorted({name for name in names if names.count(name) > 1}):
        # UDA 2.0 section 2.3: one version of a type, the highest, and a serviceId of its own.
        raise ValueError(f"{attribute.name}: {repeated} is there twice; a device has one service of a type")


@attrs.frozen
class Device:
    """A device; the texts are those of UDA 2.0 section 2.3.

    uuid           what its UDN has behind "uuid:"
    type           such as "urn:schemas-upnp-org:device:Basic:1"
    friendly_name  what people see
    location       the URL of the description, `{address}` put in for the asker's link; without it, it is served here
    description    a file with the device description that is served here, `{address}` put in; without it, it is made
                   from these keys
    headers        header fields of the vendor for all messages of the tree (section 1.1.3)
    manufacturer, model_name, model_number, serial_number  for the description that is made
    presentation   the URL of the device's page for people, `{address}` put in
    services       types, or tables of `ServiceType`
    devices        embedded devices, which have no location, description and headers of their own
    """

    uuid: str = attrs.field(validator=_is_udn, metadata={"example": "2fac1234-31f8-11b4-a222-08002b34c003"})
    type: str = attrs.field(validator=_is_type("device"), metadata={"example": "urn:schemas-upnp-org:device:Basic:1"})
    friendly_name: str = attrs.field(validator=_is_name, metadata={"example": "Lab device"})
    location: str | None = attrs.field(default=None, validator=_is_location)
    description: Path | None = None
    headers: dict[str, str] = attrs.field(factory=dict, validator=_are_headers)
    manufacturer: str = attrs.field(default="responderd", validator=_is_name)
    model_name: str = attrs.field(default="responderd", validator=_is_name)
    model_number: str = attrs.field(default="", validator=is_text)
    serial_number: str = attrs.field(default="", validator=is_text)
    presentation: str = attrs.field(default="", validator=_is_url)
    services: tuple[ServiceType | str, ...] = attrs.field(default=(), converter=_to_services, validator=_are_services)
    devices: tuple[Device, ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.location is not None and self.description is not None:
            raise ValueError("location and description: the file is served only where location is left out")

    @property
    def service_types(self) -> tuple[ServiceType, ...]:
        """`services` with the type that they have once converted."""
        return _to_services(self.services)

    def tree(self) -> Iterator[Device]:
        """This device and all that is embedded in it."""
        yield self
        for device in self.devices:
            yield from device.tree()


def walk(devices: Sequence[Device], path: str = "") -> Iterator[tuple[str, Device]]:
    """All devices of those trees, each with its path below them: "[0]", "[0].devices[1]"."""
    for number, device in enumerate(devices):
        here = f"{path}[{number}]"
        yield here, device
        yield from walk(device.devices, f"{here}.devices")


def are_devices(_instance: object, attribute: attrs.Attribute[Any], value: Sequence[Device]) -> None:
    """An attrs validator: at least one root device, and no UUID twice.  Raises ConfigErrors with each device's path."""
    if not value:
        raise ValueError(f"{attribute.name}: expected at least one device")
    seen: dict[str, str] = {}
    errors = []
    for path, device in walk(value):
        first = seen.setdefault(device.uuid.lower(), path)
        if first != path:
            errors.append(ConfigError(f"{device.uuid} is there twice: {attribute.name}{first}", path=f"{path}.uuid"))
        errors += [
            ConfigError("an embedded device has none but its root device's", path=f"{path}.{key}")
            for key in ("location", "description", "headers")
            if "." in path and getattr(device, key)
        ]
    if errors:
        raise ConfigErrors(errors)

"""The folder of service files: tables as the config has them (`*.toml`), and Avahi's (`*.service`).

A file that is wrong is named and left out; the others stay.  The folder is read whole whenever something in it has
changed, which `Folder.changed` sees by names and stamps.
"""

from __future__ import annotations

import base64
import binascii
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from responder import ConfigError, ConfigErrors, Stamp, stamp_of, structure

from ..shared.regular_file import open_regular
from .options import Offer, ServiceOptions

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_FILES: Final = 1_000
MAX_SIZE: Final = 256 * 1024
"""Bytes of a file."""

SUFFIXES: Final = (".toml", ".service")


@attrs.frozen
class Found:
    """What is in a folder: services, and what is wrong."""

    services: tuple[ServiceOptions, ...] = ()
    errors: tuple[ConfigError, ...] = ()


@attrs.define(eq=False)
class Folder:
    """A folder, and what it held when it was looked at last."""

    path: Path
    _seen: dict[Path, Stamp] | None = attrs.field(default=None, init=False)

    def changed(self) -> bool:
        """Is it another than at the last call?  The first call says so too."""
        present = {file: stamp_of(file) for file in self.files()}
        if present == self._seen:
            return False
        self._seen = present
        return True

    def files(self) -> list[Path]:
        """Its service files by name; none where it can't be listed."""
        try:
            return sorted(file for file in self.path.iterdir() if file.suffix in SUFFIXES)[:MAX_FILES]
        except OSError:
            return []

    def read(self, host: str) -> Found:
        """All services, in the order of the files' names; `host` is this host's label, for `%h` (avahi.service(5))."""
        services: list[ServiceOptions] = []
        errors: list[ConfigError] = []
        if not self.path.is_dir():
            errors.append(ConfigError("is no folder", path="services_dir", file=self.path))
        for file in self.files():
            try:
                services += _read(file, host)
            except ConfigErrors as several:
                errors += [_named(error, file) for error in several.errors]
            except ConfigError as error:
                errors.append(_named(error, file))
        return Found(tuple(services), tuple(errors))


def merge(host: str, configured: Sequence[ServiceOptions], found: Iterable[ServiceOptions]) -> tuple[Offer, list[str]]:
    """One offer of what the config and the folder have, and why which ones of the folder are left out."""
    services = {service.key: service for service in configured}
    left_out = []
    for service in found:
        what = f"{service.name!r} of {service.type}"
        if service.key in services:
            left_out.append(f"{what} is there twice")
        elif not service.host and not host:
            left_out.append(f'{what} is on this host, which has no name (host = "")')
        else:
            services[service.key] = service
    return Offer.of(host, tuple(services.values())), left_out


def _named(error: ConfigError, file: Path) -> ConfigError:
    return ConfigError(error.message, path=error.path, file=error.file or file, line=error.line)


def _read(file: Path, host: str) -> list[ServiceOptions]:
    """Raises ConfigError or ConfigErrors."""
    try:
        with open_regular(file) as opened:
            data = opened.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}") from error
    if len(data) > MAX_SIZE:
        raise ConfigError(f"has more than {MAX_SIZE} bytes")
    return _read_toml(data, file.parent) if file.suffix == ".toml" else list(_read_xml(data, host))


@attrs.frozen
class _File:
    services: tuple[ServiceOptions, ...] = ()


def _read_toml(data: bytes, folder: Path) -> list[ServiceOptions]:
    """`[[services]]` tables as in the config, or one service's keys at the top."""
    try:
        table = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError, or no UTF-8
        raise ConfigError(str(error)) from error
    if "services" in table or "name" not in table:
        return list(structure(table, _File, folder=folder).services)
    return [structure(table, ServiceOptions, folder=folder)]


def _read_xml(data: bytes, host: str) -> Iterator[ServiceOptions]:
    """avahi.service(5): a group of services of one name."""
    from defusedxml import DefusedXmlException  # noqa: PLC0415 - few have such files
    from defusedxml.ElementTree import ParseError, fromstring  # noqa: PLC0415 - as above

    try:
        group = fromstring(data)
    except ParseError as error:
        raise ConfigError(f"is no XML: {error}", line=error.position[0]) from error
    except (DefusedXmlException, ValueError, LookupError) as error:
        raise ConfigError(f"is XML that is not read here: {error}") from error
    if group.tag != "service-group":
        raise ConfigError(f"expected a <service-group>, got <{group.tag}>")
    name = _text(group, "name")
    element = group.find("name")
    if element is not None and element.get("replace-wildcards") == "yes":
        name = name.replace("%h", host)
    for service in group.iterfind("service"):
        yield structure(_table(service, name), ServiceOptions, folder=Path())


def _table(service: Element, name: str) -> Mapping[str, Any]:
    """A service of Avahi's as the table that says the same.  Raises ConfigError."""
    type_ = _text(service, "type")
    domain = _text(service, "domain-name", "local")
    if domain.rstrip(".") != "local":
        raise ConfigError(f"<domain-name>{domain}: only local is served")
    port = _text(service, "port", "0")
    if not port.isascii() or not port.isdecimal() or len(port) > 5:
        raise ConfigError(f"<port>: expected a number, got {port[:20]!r}")
    return {
        "name": name,
        "type": type_,
        "port": int(port),
        "txt": dict(_txt(each) for each in service.iterfind("txt-record")),
        # Avahi has them in full: _printer._sub._http._tcp.
        "subtypes": [(each.text or "").strip().removesuffix(f"._sub.{type_}") for each in service.iterfind("subtype")],
        "host": _text(service, "host-name", ""),
    }


def _text(parent: Element, tag: str, default: str | None = None) -> str:
    element = parent.find(tag)
    if element is None:
        if default is None:
            raise ConfigError(f"<{parent.tag}> has no <{tag}>")
        return default
    return (element.text or "").strip()


def _txt(record: Element) -> tuple[str, str | bool | Mapping[str, str]]:
    """Raises ConfigError."""
    key, equals, value = (record.text or "").strip().partition("=")
    if not equals:
        return key, True
    try:
        match record.get("value-format", "text"):
            case "text":
                return key, value
            case "binary-hex":
                return key, {"base64": base64.b64encode(bytes.fromhex(value)).decode()}
            case "binary-base64":
                base64.b64decode(value, validate=True)
                return key, {"base64": value}
            case other:
                raise ConfigError(f"<txt-record value-format={other!r}>: expected text, binary-hex or binary-base64")
    except (ValueError, binascii.Error) as error:
        raise ConfigError(f"<txt-record>{key}: {error}") from error

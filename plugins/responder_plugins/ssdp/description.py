"""The documents that LOCATION leads to: device and service descriptions (UDA 2.0 sections 2.3 and 2.5).

They are made from the options, or read from files that the config names and checked.  Only the operator's XML is read
here, never a peer's.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote
from xml.etree import ElementTree as ET

import attrs

from responder import ConfigError, Context, IPAddress

from ..shared.http import url_host
from .options import ADDRESS, Device, ServiceType, walk
from .writer import device_path

DEVICE: Final = "urn:schemas-upnp-org:device-1-0"
SERVICE: Final = "urn:schemas-upnp-org:service-1-0"


MAX_CONFIG_ID: Final = 2**24 - 1
"""The range that is ours to use (section 1.2.2)."""


@attrs.frozen
class Description:
    """A root device's documents by path, none where it has a location of its own, and its CONFIGID.UPNP.ORG."""

    config_id: int
    documents: Mapping[str, bytes]


def seen_by(document: bytes, address: IPAddress) -> bytes:
    """The document for who asks by that address of this host."""
    return document.replace(ADDRESS.encode(), url_host(address).encode())


def describe(root: Device, key: str, context: Context) -> Description:
    """The description of a root device, which stands at that key of the options.

    Raises ConfigError for a file that can't be read, is no XML, or is that of another device.
    """
    if root.location is not None:
        return Description(_checksum(root, ()), {})
    files: dict[str, bytes] = {}
    for where, device in walk([root]):
        for number, service in enumerate(device.service_types):
            if service.scpd is not None:
                path = f"{key}{where.removeprefix('[0]')}.services[{number}].scpd"
                files[_scpd_path(device, number)] = _read(service.scpd, path, context)[0]
    config_id = None
    if root.description is not None:
        content, element = _read(root.description, f"{key}.description", context)
        files[device_path(root.uuid)] = content
        try:
            config_id = _own_config_id(element, root)
        except ValueError as error:
            file = context.path(root.description)
            raise ConfigError(str(error), path=f"{key}.description", file=file) from error
    if config_id is None:
        config_id = _checksum(root, files.values())
    made = {device_path(root.uuid): _device_description(root, config_id)}
    for device in root.tree():
        for number in range(len(device.services)):
            made[_scpd_path(device, number)] = _service_description(config_id)
    return Description(config_id, made | files)


def _checksum(root: Device, files: Iterable[bytes]) -> int:
    """Another number for another description (section 1.2.2)."""
    return zlib.crc32(b"".join([repr(root).encode(), *files])) & MAX_CONFIG_ID


def _read(name: Path, key: str, context: Context) -> tuple[bytes, ET.Element]:
    """A file's content, and what it is as XML.  Raises ConfigError."""
    content = context.read_text(name, key=key).encode()  # UTF-8, as section 2.11 wants it
    try:
        return content, ET.fromstring(content)  # noqa: S314 - the operator's own file
    except ET.ParseError as error:
        raise ConfigError(f"is no XML: {error}", path=key, file=context.path(name), line=error.position[0]) from error


def _own_config_id(document: ET.Element, root: Device) -> int | None:
    """The configId that a file has of its own.  Raises ValueError for a file that control points would not take."""
    udn = document.findtext(f"{{{DEVICE}}}device/{{{DEVICE}}}UDN", "").strip()
    if udn.lower() != f"uuid:{root.uuid}".lower():
        found = f"the UDN {udn}" if udn else f"no device with a UDN, in the namespace {DEVICE}"
        raise ValueError(f"has {found}; expected uuid:{root.uuid}")
    own = document.get("configId")
    if own is None:
        return None
    if not (own.isascii() and own.isdigit() and int(own) <= MAX_CONFIG_ID):
        raise ValueError(f"has the configId {own!r}; expected 0..{MAX_CONFIG_ID}")
    return int(own)


def _scpd_path(device: Device, number: int) -> str:
    return f"/{quote(device.uuid, safe='')}/service-{number}.xml"


def _device_description(root: Device, config_id: int) -> bytes:
    document = ET.Element("root", {"xmlns": DEVICE, "configId": str(config_id)})
    _add_version(document)
    document.append(_device(root))
    return _written(document)


def _device(device: Device) -> ET.Element:
    element = ET.Element("device")
    for name, text in _texts(device):
        ET.SubElement(element, name).text = text
    if device.service_types:
        services = ET.SubElement(element, "serviceList")
        for number, service in enumerate(device.service_types):
            services.append(_service(device, number, service))
    if device.devices:
        embedded = ET.SubElement(element, "deviceList")
        for each in device.devices:
            embedded.append(_device(each))
    if device.presentation:
        ET.SubElement(element, "presentationURL").text = device.presentation
    return element


def _texts(device: Device) -> Iterator[tuple[str, str]]:
    """In the order of section 2.3, without the optional ones that are empty."""
    yield "deviceType", device.type
    yield "friendlyName", device.friendly_name
    yield "manufacturer", device.manufacturer
    yield "modelName", device.model_name
    if device.model_number:
        yield "modelNumber", device.model_number
    if device.serial_number:
        yield "serialNumber", device.serial_number
    yield "UDN", f"uuid:{device.uuid}"


def _service(device: Device, number: int, service: ServiceType) -> ET.Element:
    name = service.type.split(":")[-2]
    element = ET.Element("service")
    for key, text in (
        ("serviceType", service.type),
        ("serviceId", f"urn:upnp-org:serviceId:{name}"),
        ("SCPDURL", _scpd_path(device, number)),
        ("controlURL", service.control),
        ("eventSubURL", ""),  # empty: nothing is evented (section 2.3), so no peer can name an address to send to
    ):
        ET.SubElement(element, key).text = text
    return element


def _service_description(config_id: int) -> bytes:
    """A service without actions; a state variable it must have, and one of a vendor begins with X_ (section 2.5)."""
    document = ET.Element("scpd", {"xmlns": SERVICE, "configId": str(config_id)})
    _add_version(document)
    variable = ET.SubElement(ET.SubElement(document, "serviceStateTable"), "stateVariable", {"sendEvents": "no"})
    ET.SubElement(variable, "name").text = "X_Unused"
    ET.SubElement(variable, "dataType").text = "string"
    return _written(document)


def _add_version(document: ET.Element) -> None:
    version = ET.SubElement(document, "specVersion")
    ET.SubElement(version, "major").text = "2"
    ET.SubElement(version, "minor").text = "0"


def _written(document: ET.Element) -> bytes:
    content: bytes = ET.tostring(document, encoding="utf-8", xml_declaration=True)
    return content

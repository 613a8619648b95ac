"""The documents that LOCATION leads to: device and service descriptions (UDA 2.0 sections 2.3 and 2.5).

Made from the options, or read from files that the config names.  This file refuses to serve them, and to read XML.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Final
from xml.etree import ElementTree as ET  # writing only: nothing that a peer sends is parsed

import attrs

from responder import Context, IPAddress

from .messages import literal
from .options import ADDRESS, Device, ServiceType

DEVICE: Final = "urn:schemas-upnp-org:device-1-0"
SERVICE: Final = "urn:schemas-upnp-org:service-1-0"


@attrs.frozen
class Document:
    """An XML document; `made` is False for one from a file, which is served as it is."""

    content: bytes
    made: bool = True

    def seen_by(self, address: IPAddress) -> bytes:
        """The document for who asks by that address of this host."""
        return self.content.replace(ADDRESS.encode(), literal(address).encode()) if self.made else self.content


def config_id_of(root: Device) -> int:
    """CONFIGID.UPNP.ORG (section 1.2.2): another one for another description, within the range that is ours to use."""
    return zlib.crc32(repr(root).encode()) & 0xFFFFFF


def documents_of(roots: Iterable[Device], context: Context) -> dict[str, Document]:
    """The documents by path, of those root devices that have no location of their own.

    Raises ConfigError for a file that can't be read.
    """
    documents: dict[str, Document] = {}
    for root in roots:
        if root.location is not None:
            continue
        if root.description is not None:
            documents[device_path(root)] = Document(context.read_bytes(root.description), made=False)
        else:
            documents[device_path(root)] = Document(_device_description(root))
        for device in root.tree():
            for number, service in enumerate(device.service_types):
                if service.scpd is not None:
                    document = Document(context.read_bytes(service.scpd), made=False)
                else:
                    document = Document(_service_description())
                documents[_scpd_path(device, number)] = document
    return documents


def device_path(root: Device) -> str:
    return f"/{root.uuid}/device.xml"


def _scpd_path(device: Device, number: int) -> str:
    return f"/{device.uuid}/service-{number}.xml"


def _device_description(root: Device) -> bytes:
    document = ET.Element("root", {"xmlns": DEVICE, "configId": str(config_id_of(root))})
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


def _service_description() -> bytes:
    """A service without actions."""
    document = ET.Element("scpd", {"xmlns": SERVICE})
    _add_version(document)
    ET.SubElement(document, "serviceStateTable")
    return _written(document)


def _add_version(document: ET.Element) -> None:
    version = ET.SubElement(document, "specVersion")
    ET.SubElement(version, "major").text = "2"
    ET.SubElement(version, "minor").text = "0"


def _written(document: ET.Element) -> bytes:
    content: bytes = ET.tostring(document, encoding="utf-8", xml_declaration=True)
    return content

"""What a Get by HTTP is answered with: the device's metadata (DPWS 1.1 section 5), where Explorer reads the name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from ..shared.refused import Refused
from . import COMPUTER
from .message import VERSIONS, prefixes_of, read_message_id, write_envelope
from .soap import read

if TYPE_CHECKING:
    from . import Wsd

TRANSFER: Final = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
EXCHANGE: Final = "http://schemas.xmlsoap.org/ws/2004/09/mex"
PNPX: Final = "http://schemas.microsoft.com/windows/pnpx/2005/10"
CONTENT_TYPE: Final = "application/soap+xml"


def answer_get(payload: bytes, options: Wsd, endpoint: str) -> bytes:
    """The answer to a Get for that endpoint.  Raises Refused."""
    header, _ = read(payload)
    for version in VERSIONS:
        wsa = f"{{{version.addressing}}}"
        if header.find_text(f"{wsa}Action") != f"{TRANSFER}/Get":
            continue
        message_id = read_message_id(header, version)
        if header.find_text(f"{wsa}To").lower() != endpoint:
            raise Refused("a Get for another endpoint")
        types = (f"{{{version.devices}}}Device", *options.types)
        prefixes = prefixes_of(types)
        return write_envelope(
            version,
            f"{TRANSFER}/GetResponse",
            "",
            _metadata(options, endpoint, version.devices, types),
            to=version.anonymous,
            relates_to=message_id,
            namespaces=[("wsx", EXCHANGE), ("wsdp", version.devices), ("pnpx", PNPX), *prefixes.values()],
        )
    raise Refused("no Get")


def _metadata(options: Wsd, endpoint: str, devices: str, types: tuple[str, ...]) -> str:
    group = f"Domain:{options.domain}" if options.domain is not None else f"Workgroup:{options.workgroup}"
    prefixes = prefixes_of(types)
    names = {each: f"{prefixes[each[1:].partition('}')[0]][0]}:{each.partition('}')[2]}" for each in types}
    computer = ""
    category = ""
    if COMPUTER in names:
        computer = f"<{names[COMPUTER]}>{escape(f'{options.name}/{group}')}</{names[COMPUTER]}>"
        category = "<pnpx:DeviceCategory>Computers</pnpx:DeviceCategory>"
    hosted = " ".join(name for each, name in names.items() if not each.startswith(f"{{{devices}}}"))
    sections = {
        "ThisDevice": "<wsdp:ThisDevice>"
        f"<wsdp:FriendlyName>{escape(options.name)}</wsdp:FriendlyName>"
        "<wsdp:FirmwareVersion>1.0</wsdp:FirmwareVersion><wsdp:SerialNumber>1</wsdp:SerialNumber>"
        "</wsdp:ThisDevice>",
        "ThisModel": "<wsdp:ThisModel>"
        "<wsdp:Manufacturer>responderd</wsdp:Manufacturer><wsdp:ModelName>responderd</wsdp:ModelName>"
        f"{category}</wsdp:ThisModel>",
        "Relationship": f'<wsdp:Relationship Type="{devices}/host"><wsdp:Host>'
        f"<wsa:EndpointReference><wsa:Address>{endpoint}</wsa:Address></wsa:EndpointReference>"
        f"<wsdp:Types>{hosted}</wsdp:Types><wsdp:ServiceId>{endpoint}</wsdp:ServiceId>{computer}"
        "</wsdp:Host></wsdp:Relationship>",
    }
    return "".join(
        [
            "<wsx:Metadata>",
            *(
                f'<wsx:MetadataSection Dialect="{devices}/{name}">{content}</wsx:MetadataSection>'
                for name, content in sections.items()
            ),
            "</wsx:Metadata>",
        ]
    )

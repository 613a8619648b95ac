"""async_upnp_client's own server, as a program for the side-by-side: a device for one address.

    python upnp_server.py ADDRESS SCOPE_ID UUID PORT

Says {"event": "ready"} on stderr and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import sys
from ipaddress import ip_address
from xml.etree import ElementTree as ET  # the type that the library's own options have

from async_upnp_client.const import DeviceInfo
from async_upnp_client.server import UpnpServer, UpnpServerDevice

TYPE = "urn:schemas-upnp-org:device:Basic:1"


def device_class(uuid: str) -> type[UpnpServerDevice]:
    info = DeviceInfo(
        device_type=TYPE,
        friendly_name="Lab device",
        manufacturer="lab",
        manufacturer_url=None,
        model_description=None,
        model_name="lab",
        model_number=None,
        model_url=None,
        serial_number=None,
        udn=f"uuid:{uuid}",
        upc=None,
        presentation_url=None,
        url="/device.xml",
        icons=[],
        xml=ET.Element("server_device"),
    )
    members = {"DEVICE_DEFINITION": info, "EMBEDDED_DEVICES": [], "SERVICES": []}
    return type("LabDevice", (UpnpServerDevice,), members)


async def serve(address: str, scope_id: int, uuid: str, port: int) -> None:
    source = (address, 0) if ip_address(address).version == 4 else (address, 0, 0, scope_id)
    await UpnpServer(device_class(uuid), source, http_port=port).async_start()
    print('{"event": "ready"}', file=sys.stderr, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))

"""The messages that a device sends: answers to searches, and its announcements (UDA 2.0 sections 1.2 and 1.3.3).

LOCATION names the address that the message itself is sent from, so that whoever hears the message can reach it.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import Final
from urllib.parse import quote

import attrs

from responder import IPAddress

from ..shared.http import url_host
from .message import write_message
from .options import ADDRESS
from .targets import Match, Root

EXTENSION: Final = "http://schemas.upnp.org/upnp/1/0/"
"""What the header NLS is an extension by (RFC 2774)."""

SEARCH_PORTS: Final = range(49152, 65536)
"""What SEARCHPORT.UPNP.ORG may say (section 1.2.2)."""


def device_path(uuid: str) -> str:
    """The path of a root device's description; what stands in the config as its UUID need not be one."""
    return f"/{quote(uuid, safe='')}/device.xml"


@attrs.define
class Writer:
    """Writes messages.

    max_age      seconds
    port         of the groups, 1900 (section 1.1)
    device_port  where descriptions are served (TCP) and unicast searches heard (UDP)
    boot_id      the current one
    """

    server: str
    max_age: int
    port: int
    device_port: int
    boot_id: int

    def answer(self, match: Match, address: IPAddress) -> bytes:
        """The answer to a search (section 1.3.3)."""
        return write_message(
            "HTTP/1.1 200 OK",
            {
                "CACHE-CONTROL": f"max-age={self.max_age}",
                "DATE": formatdate(usegmt=True),
                "EXT": "",
                "LOCATION": self.location(match.root, address),
                "SERVER": self.server,
                "ST": match.type,
                "USN": match.usn,
                "BOOTID.UPNP.ORG": self.boot_id,
                "CONFIGID.UPNP.ORG": match.root.config_id,
                "SEARCHPORT.UPNP.ORG": self._search_port,
                **self._location_signature(address),
                **match.root.headers,
            },
        )

    def alive(self, match: Match, group: IPAddress, address: IPAddress) -> bytes:
        """Section 1.2.2."""
        return self._notify(
            match,
            group,
            "ssdp:alive",
            {
                "CACHE-CONTROL": f"max-age={self.max_age}",
                "LOCATION": self.location(match.root, address),
                "SERVER": self.server,
                "SEARCHPORT.UPNP.ORG": self._search_port,
                **self._location_signature(address),
            },
        )

    def update(self, match: Match, group: IPAddress, address: IPAddress, next_boot_id: int) -> bytes:
        """Section 1.2.4."""
        return self._notify(
            match,
            group,
            "ssdp:update",
            {
                "LOCATION": self.location(match.root, address),
                "NEXTBOOTID.UPNP.ORG": next_boot_id,
                "SEARCHPORT.UPNP.ORG": self._search_port,
            },
        )

    def byebye(self, match: Match, group: IPAddress) -> bytes:
        """Section 1.2.3."""
        return self._notify(match, group, "ssdp:byebye", {})

    def location(self, root: Root, address: IPAddress) -> str:
        """The URL of a root device's description, by that address of this host."""
        if root.location is not None:
            return root.location.replace(ADDRESS, url_host(address))
        return f"http://{url_host(address)}:{self.device_port}{device_path(root.uuid)}"

    def _location_signature(self, address: IPAddress) -> dict[str, object]:
        """What BOOTID.UPNP.ORG was before there was one, for IPv6 control points of UDA 1.0 (annex A of UDA 1.1)."""
        if address.version == 4:
            return {}
        return {"OPT": f'"{EXTENSION}"; ns=01', "01-NLS": self.boot_id}

    @property
    def _search_port(self) -> int | None:
        return self.device_port if self.device_port in SEARCH_PORTS else None

    def _notify(self, match: Match, group: IPAddress, kind: str, headers: dict[str, object]) -> bytes:
        return write_message(
            "NOTIFY * HTTP/1.1",
            {
                "HOST": f"{url_host(group).upper()}:{self.port}",
                "NT": match.type,
                "NTS": kind,
                "USN": match.usn,
                "BOOTID.UPNP.ORG": self.boot_id,
                "CONFIGID.UPNP.ORG": match.root.config_id,
                **headers,
                **match.root.headers,
            },
        )

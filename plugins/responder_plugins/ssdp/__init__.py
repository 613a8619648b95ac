"""SSDP: a UPnP device that is found on every link, with a LOCATION that works there (see README.md).

The options stand in `options`; what answers and announces is imported by `prepare`, so that a command that only lists
plugins need not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from responder import Duration, Plugin, Service

from .options import Device, ServiceType, are_devices, is_header_value, is_max_age

if TYPE_CHECKING:
    from responder import Context, Handler

__all__ = ["Device", "ServiceType", "Ssdp"]


@attrs.frozen
class Ssdp(Plugin):
    """Makes UPnP devices found on every link, and serves their descriptions.

    devices  root devices, each with what is embedded in it
    max_age  how long an announcement is good for, in whole seconds
    server   the SERVER header: system, UPnP version, product
    """

    devices: tuple[Device, ...] = attrs.field(validator=are_devices)
    max_age: Duration = attrs.field(default=1800.0, validator=is_max_age)
    server: str = attrs.field(default="Any/0 UPnP/2.0 responderd/0", validator=is_header_value)

    services: ClassVar[tuple[Service, ...]] = (
        Service(
            name="discovery",
            port=1900,
            # What is announced to, and ff0e::c: GSSDP searches there where it has a global or unique local address.
            groups=["239.255.255.250", "ff02::c", "ff05::c", "ff0e::c"],
            hop_limit=2,  # UDA 2.0 section 1.2.2: TTL 2 unless configured otherwise
            shared=True,
            on_link=True,
        ),
        # Its UDP half hears the unicast searches that SEARCHPORT.UPNP.ORG invites (section 1.2.2): on a shared port
        # 1900 only the program that bound last hears unicast.  Its TCP half serves the descriptions.
        Service(name="device", port=0, hop_limit=2, tcp=True, on_link=True),
    )

    def prepare(self, context: Context) -> Handler:
        """The handler.  Raises ConfigError for a file that can't be read."""
        from .handler import SsdpHandler  # noqa: PLC0415 - see the module's docstring

        return SsdpHandler.of(self, context)

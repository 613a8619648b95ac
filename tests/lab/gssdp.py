"""GSSDP, the library of GNOME's UPnP, as a control point or a device; for Debian's own Python, which has its bindings.

    /usr/bin/python3 gssdp.py discover INTERFACE {4,6} SECONDS    prints a line "USN LOCATION" for each that is found
    /usr/bin/python3 gssdp.py serve INTERFACE {4,6} UUID PORT     a root device, until it is ended

gssdp-discover itself asks by IPv4 only.
"""

from __future__ import annotations

import sys

import gi  # type: ignore[import-not-found]  # a Debian package (python3-gi), not in the environment of the tests

gi.require_version("GSSDP", "1.6")
from gi.repository import GSSDP, Gio, GLib  # type: ignore[import-not-found]  # noqa: E402 - the version goes first

FAMILIES = {"4": Gio.SocketFamily.IPV4, "6": Gio.SocketFamily.IPV6}


def client_on(interface: str, family: str) -> GSSDP.Client:
    client = GSSDP.Client(interface=interface, address_family=FAMILIES[family])
    client.init(None)
    return client


def discover(interface: str, family: str, seconds: str) -> None:
    """Print what answers within the time."""
    browser = GSSDP.ResourceBrowser(client=client_on(interface, family), target=GSSDP.ALL_RESOURCES)
    browser.connect("resource-available", lambda _, usn, locations: print(usn, *locations, flush=True))
    browser.set_active(True)
    loop = GLib.MainLoop()
    GLib.timeout_add_seconds(int(seconds), loop.quit)
    loop.run()


def serve(interface: str, family: str, uuid: str, port: str) -> None:
    """A device of three resources, with the address that GSSDP itself takes for the interface's in its LOCATION."""
    client = client_on(interface, family)
    address = client.get_host_ip().partition("%")[0]
    location = f"http://{f'[{address}]' if family == '6' else address}:{port}/device.xml"
    group = GSSDP.ResourceGroup(client=client)
    for target, usn in (
        ("upnp:rootdevice", f"uuid:{uuid}::upnp:rootdevice"),
        (f"uuid:{uuid}", f"uuid:{uuid}"),
        ("urn:schemas-upnp-org:device:Basic:1", f"uuid:{uuid}::urn:schemas-upnp-org:device:Basic:1"),
    ):
        group.add_resource_simple(target, usn, location)
    group.set_available(True)
    print('{"event": "ready"}', file=sys.stderr, flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    {"discover": discover, "serve": serve}[sys.argv[1]](*sys.argv[2:])

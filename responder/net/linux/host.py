"""Which process holds a port, as Linux's /proc tells it."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from ...datagram import IPAddress
from ..place import Place

if sys.platform != "linux":  # what follows reads Linux's /proc
    raise ImportError("Linux only")

import pwd  # there is none on Windows

# The thread's own: /proc/net is the main thread's network namespace.
_PROC_NET = Path("/proc/thread-self/net")


def port_holder(place: Place) -> str | None:
    """The program whose socket collides with a place that is to be bound: "name (pid 812)".

    Without root, other users' processes can't be looked into: then "a program of user x".  None where none is found.
    """
    users = dict(_colliding(place.transport.lower(), place.port, place.address))
    wanted = {f"socket:[{inode}]" for inode in users}
    if not wanted:
        return None
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            if any(os.readlink(link) in wanted for link in (process / "fd").iterdir()):
                name = (process / "comm").read_text(errors="replace").rstrip("\n")
                return f"{name} (pid {process.name})"
        except OSError:  # another user's, or gone
            continue
    return f"a program of user {_user_name(next(iter(users.values())))}"


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _colliding(transport: str, port: int, address: IPAddress | None) -> Iterator[tuple[str, int]]:
    """(inode, uid) of the sockets in /proc/net/udp, udp6, tcp, tcp6 (proc_net_tcp.rst) that have the port."""
    for table in (transport, f"{transport}6"):
        try:
            lines = (_PROC_NET / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            local, _, local_port = fields[1].partition(":")
            held = _hex_address(local)
            if int(local_port, 16) == port and (address is None or held.is_unspecified or held == address):
                yield fields[9], int(fields[7])


def _hex_address(text: str) -> IPAddress:
    """An address as /proc/net shows it: each 32-bit word as a number of the machine."""
    packed = b"".join(struct.pack("=I", int(text[start : start + 8], 16)) for start in range(0, len(text), 8))
    address = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
    return getattr(address, "ipv4_mapped", None) or address

"""A plain dual-stack echo by recvfrom and sendto: what the lab must be able to tell from the real thing.

Run as a program with the port and the groups as arguments.  It joins the groups on every link, so that it fails at
nothing but the source address and the way out.  Says {"event": "ready"} on stderr, and ends by SIGTERM.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import struct
import sys


def serve(port: int, groups: list[str]) -> None:
    """Echo until killed."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for group in map(ipaddress.ip_address, groups):
        for index, name in socket.if_nameindex():
            if name == "lo":
                continue
            if group.version == 4:
                request = group.packed + bytes(4) + struct.pack("=i", index)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group.packed + struct.pack("=i", index))
    sock.bind(("::", port))
    print(json.dumps({"event": "ready"}), file=sys.stderr, flush=True)
    while True:
        payload, peer = sock.recvfrom(65535)
        with contextlib.suppress(OSError):  # one way that can't be answered is no reason to fail the others
            sock.sendto(payload, peer)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2:])

"""A wire that reorders: carries frames between two interfaces of a namespace, and lets one in 50 be overtaken.

    python -m tests.lab.reordering ONE OTHER

A frame that is held back goes after the next one of its direction, or when nothing has come for a moment.  The far ends
of both links must fill in checksums themselves (`without_offload`).  It says {"event": "ready"} on stderr, and goes on
until it is ended.
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import sys

EVERY = 50
"""Of the frames of a direction, one is held back."""

HELD = 0.002
"""Seconds at most."""

ETH_P_ALL = 3
PACKET_OUTGOING = 4
LARGEST = 1 << 16

SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17


def without_offload(name: str) -> None:
    """Have checksums filled in before a frame leaves by an interface of this namespace.

    A packet socket otherwise sees frames whose checksum is still to be made.  Raises OSError.
    """
    import fcntl  # noqa: PLC0415 - there is none on Windows, where this module is imported too

    value = ctypes.create_string_buffer(struct.pack("@II", ETHTOOL_STXCSUM, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("@16sP16x", name.encode(), ctypes.addressof(value)))


class Direction:
    """The frames that come by one socket and go by another."""

    def __init__(self, came: socket.socket, goes: socket.socket) -> None:
        self.came, self.goes = came, goes
        self.count = 0
        self.held: bytes | None = None

    def carry(self) -> None:
        frame, (_, _, kind, *_) = self.came.recvfrom(LARGEST)
        if kind == PACKET_OUTGOING:  # our own
            return
        self.count += 1
        if self.count % EVERY == 0 and self.held is None:
            self.held = frame
            return
        self.goes.send(frame)
        self.release()

    def release(self) -> None:
        if self.held is not None:
            self.goes.send(self.held)
            self.held = None


def opened(name: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.bind((name, ETH_P_ALL))
    return sock


def main(one: str, other: str) -> None:
    first, second = opened(one), opened(other)
    directions = {first: Direction(first, second), second: Direction(second, first)}
    print('{"event": "ready"}', file=sys.stderr, flush=True)
    while True:
        waits = any(each.held is not None for each in directions.values())
        ready, _, _ = select.select(list(directions), [], [], HELD if waits else None)
        for sock in ready:
            directions[sock].carry()
        if not ready:
            for each in directions.values():
                each.release()


if __name__ == "__main__":
    main(*sys.argv[1:])

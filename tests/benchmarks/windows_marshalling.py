"""What one datagram costs on Windows beside its system call: CPU microseconds to take one in and to send one out.

    python -m tests.benchmarks.windows_marshalling [--rounds N] [--json]

It runs anywhere: Windows' own `WindowsSocket` on a Winsock of no system calls, which says at once "received" or "sent".
The receive writes into the caller's memory what Windows would, and what that alone costs is measured too and taken off.
The medians of some rounds are printed, with their spread.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import time
from collections.abc import Callable
from ipaddress import ip_address

from responder.net import cmsg
from responder.net.types import Route
from responder.net.windows.udp import ABI, WindowsSocket
from responder.net.windows.winsock_types import AF_INET6, IP_HOPLIMIT, IPPROTO_IP, NATIVE
from tests.responder.net.windows.fake_winsock import Arrived, FakeSocket, FakeWinsock, sender
from tests.responder.net.windows.windows_host import pktinfo4, pktinfo6

DATAGRAMS, BATCH = 50_000, 64
PAYLOAD, SIZE = bytes(64), ctypes.sizeof(NATIVE.WSAMSG)
HOP_LIMIT = IPPROTO_IP, IP_HOPLIMIT, cmsg.pack_int(64)
ARRIVED = Arrived(
    PAYLOAD,
    sender(ip_address("::ffff:10.71.0.9")),
    ABI.encode([pktinfo6("::ffff:10.71.0.1", 3), pktinfo4("10.71.0.1", 3), HOP_LIMIT]),
)
ROUTE = Route(ip_address("10.71.0.9"), source=ip_address("10.71.0.1"))


class IdleWinsock(FakeWinsock):
    """Every send is done at once.  The same datagram arrives again and again, written whole only the first time."""

    written: bytes = b""
    place = 0, 0

    def send_message(self, *_: int) -> int:
        return 0

    def receive_message(self, message: int, received: int) -> int:
        if not self.written:
            self.arrivals.append(ARRIVED)
            super().receive_message(message, received)
            self.place = message, received
            self.written = ctypes.string_at(message, SIZE)
        # What the system writes on each call: the lengths, the flags and the count of bytes.
        ctypes.memmove(message, self.written, SIZE)
        ctypes.c_uint32.from_address(received).value = len(PAYLOAD)
        return 0


def measure() -> tuple[float, float]:
    """CPU microseconds a datagram: (in, out)."""
    winsock = IdleWinsock()
    sock = WindowsSocket(FakeSocket(), winsock, AF_INET6, None, lambda: ())
    assert [received.payload for received in sock.receive(1)] == [PAYLOAD]
    message, received = winsock.place
    batch = [(PAYLOAD, ROUTE, 4000)] * BATCH
    everything = of(lambda: sock.receive(BATCH))
    border = of(lambda: [winsock.receive_message(message, received) for _ in range(BATCH)])
    return everything - border, of(lambda: sock.send(batch))


def of(work: Callable[[], object]) -> float:
    """CPU microseconds a datagram of `work`, which handles a batch."""
    start = time.process_time()
    for _ in range(DATAGRAMS // BATCH):
        work()
    return (time.process_time() - start) * 1e6 / (DATAGRAMS // BATCH * BATCH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="the result for machines")
    options = parser.parse_args()
    measure()
    rounds = [measure() for _ in range(options.rounds)]
    both = [one + other for one, other in rounds]
    found = {"in": [one for one, _ in rounds], "out": [other for _, other in rounds], "both": both}
    if options.json:
        print(json.dumps({name: statistics.median(values) for name, values in found.items()}))
    else:
        for name, values in found.items():
            print(f"{name:5} {statistics.median(values):5.2f} us  ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()

"""A client that asks without a pause, each query from a port of its own, and says what became of them.

    python -m tests.lab.asking ADDRESS NAME QUERIES-A-SECOND

Each line on standard input begins a part of that name, which is told once it has `ENOUGH` queries.  At the end it
waits a second for the last answers, and prints an object in JSON: for each part how many queries were sent, lost, and
answered without an address, the time from the first lost one to the last (`gap`, ms), and how many answers each
server gave (NSID).
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import sys
import time
from ipaddress import ip_address
from typing import Any

import dns.edns
import dns.message
import dns.rcode

ENOUGH = 40

PATIENCE = 1.0
"""Seconds after which a query is lost."""


class Part:
    def __init__(self) -> None:
        self.sent = self.lost = self.wrong = 0
        self.servers: dict[str, int] = {}
        self.losses: list[float] = []

    def summary(self, interval: float) -> dict[str, Any]:
        gap = self.losses[-1] - self.losses[0] + interval if self.losses else 0.0
        return {
            "sent": self.sent,
            "lost": self.lost,
            "wrong": self.wrong,
            "gap": round(1000 * gap),
            "servers": self.servers,
        }


def main(address: str, name: str, rate: float) -> None:
    family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
    interval = 1 / rate
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    parts: dict[str, Part] = {}
    part = parts["begin"] = Part()
    waiting: dict[socket.socket, tuple[Part, float, dns.message.Message]] = {}
    following = time.monotonic()
    ends: float | None = None
    number = 0

    def drop(sock: socket.socket) -> None:
        selector.unregister(sock)
        sock.close()
        del waiting[sock]

    while ends is None or (waiting and time.monotonic() < ends):
        now = time.monotonic()
        if ends is None and now >= following:
            following = max(following + interval, now)
            number += 1
            query = dns.message.make_query(
                name,
                "A",
                id=number % 65536,
                use_edns=0,
                options=[dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")],
            )
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.connect((address, 53))
            part.sent += 1
            if part.sent == ENOUGH and len(parts) > 1:
                print(json.dumps("begun"), flush=True)
            waiting[sock] = part, now, query
            selector.register(sock, selectors.EVENT_READ)
            with contextlib.suppress(OSError):  # no route: it is lost
                sock.send(query.to_wire())
        for sock, (its, at, _) in [*waiting.items()]:
            if now - at <= PATIENCE:
                break
            its.lost += 1
            its.losses.append(at)
            drop(sock)
        for key, _ in selector.select(max(0.0, following - time.monotonic()) if ends is None else 0.1):
            if key.fileobj is sys.stdin:
                line = sys.stdin.readline()
                if line:
                    part = parts[line.strip()] = Part()
                else:
                    selector.unregister(sys.stdin)
                    ends = time.monotonic() + PATIENCE + 0.5
                continue
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            its, _, query = waiting[sock]
            try:
                reply = dns.message.from_wire(sock.recv(65535))
            except OSError:
                continue  # an ICMP error: an answer may come all the same
            if query.is_response(reply) and reply.rcode() == dns.rcode.NOERROR and reply.answer:
                server = next(
                    (each.nsid.decode() for each in reply.options if isinstance(each, dns.edns.NSIDOption)), ""
                )
                its.servers[server] = its.servers.get(server, 0) + 1
            else:
                its.wrong += 1
            drop(sock)
    for its, at, _ in waiting.values():
        its.lost += 1
        its.losses.append(at)
    print(json.dumps({label: each.summary(interval) for label, each in parts.items()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))

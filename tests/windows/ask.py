"""A client as a program: asks in many ways at once, from plain sockets, and prints what each heard.

    python ask.py REQUESTS.json

The file holds a list of {"to": sockaddr, "token": text, "source": address or "", "link": address}; `link` is the
client's own IPv4 address on the link that a group or broadcast goes out of.  Printed is a list of the answers' source
socket addresses, null for none.  An answer of another payload is not one.

It uses only what every Python has, so that the client is not of our making.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from typing import Any

PATIENCE = float(5)
"""Seconds after which missing answers count as none: waited for only if something is wrong."""


def ask(request: dict[str, Any]) -> socket.socket:
    """A socket that has sent the request."""
    to = request["to"]
    if ":" in to[0]:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        if request["source"]:
            sock.bind((request["source"], 0))
    elif request["source"]:
        # Dual-stack: under Wine an AF_INET socket bound to a secondary address sends from the primary all the same.
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((f"::ffff:{request['source']}", 0))
        to = [f"::ffff:{to[0]}", to[1], 0, 0]
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if "." in to[0]:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(request["link"]))
    sock.sendto(request["token"].encode(), tuple(to))
    return sock


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        requests = json.load(file)
    sockets = [ask(request) for request in requests]
    answers: list[list[Any] | None] = [None] * len(requests)
    until = time.monotonic() + PATIENCE
    waiting = {sock: number for number, sock in enumerate(sockets)}
    while waiting and (left := until - time.monotonic()) > 0:
        for sock in select.select(list(waiting), [], [], left)[0]:
            payload, source = sock.recvfrom(65535)
            if payload == requests[waiting[sock]]["token"].encode():
                answers[waiting.pop(sock)] = [source[0].removeprefix("::ffff:"), *source[1:]]
    print(json.dumps(answers))


if __name__ == "__main__":
    main()

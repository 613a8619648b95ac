"""Who answers a search from the right address, with a LOCATION that works there: responderd, GSSDP, async_upnp_client.

    python -m tests.benchmarks.ssdp [--json]      (root, Linux, python3-gi, gir1.2-gssdp-1.6, async-upnp-client)

Each server in turn stands on the multihomed host of the lab.  The other two serve one interface or address in each
process, so they get a process for each link and family; behind GSSDP, which has no HTTP, stands a plain file server.
Both clients search by every group and by unicast, and every answer that comes is judged: its source address, and its
LOCATION, which the client then fetches.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

import attrs

from tests.lab.daemon import Child, daemon
from tests.lab.multihomed import LINK_LOCAL, Multihomed, Way, own

UUID = "2fac1234-31f8-11b4-a222-08002b34c003"
PORT = 49200
WAIT = 3.0
"""Seconds for answers: MX is 1."""

HERE = Path(__file__).parent

FILE_SERVER = f"""
import http.server, socket, sys
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
server = Server(("::", {PORT}), http.server.SimpleHTTPRequestHandler)
print('{{"event": "ready"}}', file=sys.stderr, flush=True)
server.serve_forever()
"""


@attrs.frozen
class Verdict:
    """All answers to one search: did any come, were all from the right address, did all lead to the description?"""

    way: Way
    answered: bool
    source: bool
    location: bool
    reachable: bool
    detail: str


def ways() -> list[Way]:
    found = []
    for client in (1, 2):
        mine = own(client)
        v4 = frozenset([mine["primary-v4"], mine["secondary-v4"]])
        v6 = frozenset([mine["primary-v6"], mine["secondary-v6"]])
        found += [
            Way(client, "group-v4", "239.255.255.250", v4),
            Way(client, "group-v6-link-local", "ff02::c", frozenset([LINK_LOCAL[6]]), "fe80::9"),
            Way(client, "group-v6-from-global", "ff02::c", v6, f"fd7{client}::9"),
            Way(client, "group-v6-site", "ff05::c", v6, f"fd7{client}::9"),
            *(Way(client, f"unicast-{kind}", address, frozenset([address])) for kind, address in mine.items()),
        ]
    return found


def search(network: Multihomed, way: Way) -> Verdict:
    """Search once, and judge all that comes."""
    host = f"[{way.destination}]" if ":" in way.destination else way.destination
    payload = (
        f'M-SEARCH * HTTP/1.1\r\nHOST: {host}:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: upnp:rootdevice\r\n\r\n'
    ).encode()
    with network.clients[way.client].socket(way.family, socket.SOCK_DGRAM) as sock:
        index = network.link_index(way.client)
        if way.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            if way.source:
                sock.bind((way.source, 0, 0, index if way.source.startswith("fe80") else 0))
        sock.sendto(payload, (way.destination, 1900))
        answers = list(heard(sock))
    sources = {source for source, _ in answers}
    hosts = [
        (found[1].strip("[]").partition("%")[0], int(found[2]), found[3])
        for _, text in answers
        if (found := re.search(r"(?i)^location: *http://(\[.*\]|[0-9.]+):(\d+)(/\S*)", text, re.MULTILINE))
    ]
    mine = {*own(way.client).values(), LINK_LOCAL[6]}
    return Verdict(
        way,
        bool(answers),
        bool(answers) and sources <= way.expected,
        bool(hosts) and len(hosts) == len(answers) and {address for address, *_ in hosts} <= mine,
        bool(hosts) and all(fetches(network, way.client, *host) for host in hosts),
        f"from {sorted(sources)}, locations {sorted({address for address, *_ in hosts})}" if answers else "silence",
    )


def heard(sock: socket.socket) -> Iterator[tuple[str, str]]:
    """(source, text) of what comes within `WAIT`."""
    end = time.monotonic() + WAIT
    while (left := end - time.monotonic()) > 0:
        sock.settimeout(left)
        with contextlib.suppress(TimeoutError):
            payload, source = sock.recvfrom(4096)
            yield source[0].partition("%")[0], payload.decode()


def fetches(network: Multihomed, client: int, address: str, port: int, path: str) -> bool:
    """Does the client get a page there?"""
    family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
    rest = (0, network.link_index(client)) if address.startswith("fe80") else ()
    with network.clients[client].socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        with contextlib.suppress(OSError):
            sock.connect((address, port, *rest))
            host = f"[{address}]" if family == socket.AF_INET6 else address
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            return b" 200 " in sock.recv(64)
    return False


def responderd(network: Multihomed, folder: Path, stack: contextlib.ExitStack) -> None:
    file = folder / "ssdp.toml"
    file.write_text(f"""
        [daemon]
        state = "{folder}"
        [plugins.ssdp]
        ports.device = {PORT}
        [[plugins.ssdp.devices]]
        uuid = "{UUID}"
        type = "urn:schemas-upnp-org:device:Basic:1"
        friendly_name = "Lab device"
    """)
    stack.enter_context(daemon(network.host, file, folder=folder))


def gssdp(network: Multihomed, folder: Path, stack: contextlib.ExitStack) -> None:
    (folder / "device.xml").write_text("<root/>")
    stack.enter_context(Child(network.host, [sys.executable, "-c", FILE_SERVER], cwd=folder))
    script = str(HERE.parent / "lab" / "gssdp.py")
    for link in ("link1", "link2"):
        for family in ("4", "6"):
            argv = ["/usr/bin/python3", script, "serve", link, family, UUID, str(PORT)]
            stack.enter_context(Child(network.host, argv))


def async_upnp_client(network: Multihomed, folder: Path, stack: contextlib.ExitStack) -> None:
    del folder
    for number in (1, 2):
        index = network.host.ifindex(f"link{number}")
        for address in (f"10.7{number}.0.1", f"fd7{number}::1", "fe80::1"):
            argv = [sys.executable, str(HERE / "upnp_server.py"), address, str(index), UUID, str(PORT)]
            stack.enter_context(Child(network.host, argv))


SERVERS: Sequence[Callable[[Multihomed, Path, contextlib.ExitStack], None]] = (responderd, gssdp, async_upnp_client)


def measure(server: Callable[[Multihomed, Path, contextlib.ExitStack], None]) -> list[Verdict]:
    with tempfile.TemporaryDirectory() as folder, Multihomed() as network, contextlib.ExitStack() as stack:
        server(network, Path(folder), stack)
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda way: search(network, way), ways()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    for server in SERVERS:
        verdicts = measure(server)
        counts = {
            name: sum(getattr(verdict, name) for verdict in verdicts)
            for name in ("answered", "source", "location", "reachable")
        }
        if arguments.json:
            print(json.dumps({"server": server.__name__, "searches": len(verdicts), **counts}))
            continue
        print(f"{server.__name__}: " + ", ".join(f"{name} {count}/{len(verdicts)}" for name, count in counts.items()))
        for verdict in verdicts:
            if not (verdict.source and verdict.reachable and verdict.location):
                print(f"    {verdict.way}: {verdict.detail}")


if __name__ == "__main__":
    main()

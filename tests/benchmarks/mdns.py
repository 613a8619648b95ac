"""What an answered mDNS query costs, and whether it names that link's addresses: responderd beside python-zeroconf.

    python -m tests.benchmarks.mdns [--queries N] [--json]      (root, Linux, zeroconf)

Both serve the same 20 services on the multihomed host of the lab.  The queries are those of plain DNS (RFC 6762 section
6.7), since every one of them is answered at once and by unicast: SRV and TXT of each service, and the host's addresses,
one after the other and several at once; what is compared is the CPU time of the server for each answer.  Then each
client asks for the host's addresses by every way, and each answer is judged: are all addresses in it that link's?
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

import attrs
from responder_plugins.mdns.names import from_text
from responder_plugins.shared import dns_message as dns

from tests.lab.daemon import Child, daemon
from tests.lab.multihomed import LINK_LOCAL, Multihomed, own

SERVICES = 20
SEVERAL = 16

GOAL = 0.5
"""Of python-zeroconf's CPU time."""

TICK = os.sysconf("SC_CLK_TCK")
GROUPS = {socket.AF_INET: "224.0.0.251", socket.AF_INET6: "ff02::fb"}
HERE = Path(__file__).parent


@attrs.frozen
class Result:
    """CPU microseconds an answer (one query at a time, and several), answers, and of the judged ones the right ones.

    `wait` and `long_wait` are the milliseconds to an answer, one query at a time: the median, and what one in a hundred
    exceeds (RFC 6762 section 6 wants 10).
    """

    server: str
    one: float
    several: float
    wait: float
    long_wait: float
    answered: int
    asked: int
    right: int
    judged: int


def responderd(network: Multihomed, folder: Path) -> contextlib.AbstractContextManager[Child]:
    services = "\n".join(
        f'[[plugins.mdns.services]]\nname = "Page {number}"\ntype = "_http._tcp"\nport = {8000 + number}\n'
        f'txt = {{ path = "/{number}" }}'
        for number in range(SERVICES)
    )
    file = folder / "mdns.toml"
    file.write_text(f'[daemon]\nstate = "{folder}"\n[plugins.mdns]\nhost = "lab"\n{services}\n')
    return daemon(network.host, file, folder=folder)


def zeroconf(network: Multihomed, folder: Path) -> contextlib.AbstractContextManager[Child]:
    addresses = [address for number in (1, 2) for address in own(number).values()] + list(LINK_LOCAL.values())
    argv = [sys.executable, str(HERE / "zeroconf_server.py"), str(SERVICES), *addresses]
    return Child(network.host, argv, cwd=folder)


SERVERS: Sequence[Callable[[Multihomed, Path], contextlib.AbstractContextManager[Child]]] = (responderd, zeroconf)


def queries() -> Iterator[bytes]:
    """For ever, each kind in turn."""
    kinds = [("lab.local", dns.A), ("lab.local", dns.AAAA)]
    kinds += [
        (f"Page {number}._http._tcp.local", rdtype) for number in range(SERVICES) for rdtype in (dns.SRV, dns.TXT)
    ]
    ident = 0
    while True:
        for name, rdtype in kinds:
            ident = ident % 0xFFFF + 1
            yield query(name, rdtype, ident)


def query(name: str, rdtype: int, ident: int) -> bytes:
    return dns.HEADER.pack(ident, 0, 1, 0, 0, 0) + from_text(name) + dns.QUESTION.pack(rdtype, dns.IN)


def client(network: Multihomed, number: int, family: socket.AddressFamily) -> socket.socket:
    """A socket that asks the group on its link."""
    sock = network.clients[number].socket(family, socket.SOCK_DGRAM)
    index = network.link_index(number)
    if family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + index.to_bytes(4, sys.byteorder))
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    sock.settimeout(2.0)
    return sock


def exchange(sock: socket.socket, payload: bytes, to: tuple[str, int]) -> dns.Message | None:
    """The answer to a query, None where none comes."""
    sock.sendto(payload, to)
    with contextlib.suppress(TimeoutError):
        while True:
            data = sock.recv(9000)
            if data[:2] == payload[:2]:
                return dns.read(data)
    return None


def established(network: Multihomed) -> None:
    """Wait until the host's name is answered for on both links."""
    for number in (1, 2):
        with client(network, number, socket.AF_INET) as sock:
            sock.settimeout(0.5)
            while exchange(sock, query("lab.local", dns.A, 1), (GROUPS[socket.AF_INET], 5353)) is None:
                pass


def cpu(pid: int) -> float:
    """Seconds of CPU time that a process has used (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def cost(network: Multihomed, pid: int, count: int, at_once: int) -> tuple[float, list[float]]:
    """CPU seconds of that many queries, so many at a time, and how long each took that was answered (ms)."""
    group = (GROUPS[socket.AF_INET], 5353)
    took: list[float] = []
    asked = queries()
    with client(network, 1, socket.AF_INET) as sock:
        for _ in range(500):  # what is made once is made
            exchange(sock, next(asked), group)
        began = cpu(pid)
        for _ in range(count // at_once):
            waiting = {}
            for _ in range(at_once):
                payload = next(asked)
                waiting[payload[:2]] = time.perf_counter()
                sock.sendto(payload, group)
            with contextlib.suppress(TimeoutError):
                while waiting:
                    data = sock.recv(9000)
                    sent_at = waiting.pop(data[:2], None)
                    if sent_at is not None and dns.read(data).answers:
                        took.append((time.perf_counter() - sent_at) * 1e3)
        return cpu(pid) - began, took


def judge(network: Multihomed) -> list[bool]:
    """Of each way to ask for the host's addresses: are those of the answer that link's, and some?"""
    verdicts = []
    for number in (1, 2):
        mine = {*own(number).values(), *LINK_LOCAL.values()}
        for family, group in GROUPS.items():
            for rdtype in (dns.A, dns.AAAA):
                for name in ("lab.local", "Page 3._http._tcp.local"):
                    with client(network, number, family) as sock:
                        asked = rdtype if name == "lab.local" else dns.SRV
                        message = exchange(sock, query(name, asked, 7), (group, 5353))
                    told = [
                        str(ip_address(record.rdata))
                        for record in ([*message.answers, *message.additionals] if message else [])
                        if record.rdtype in (dns.A, dns.AAAA)
                    ]
                    verdicts.append(bool(told) and set(told) <= mine)
    return verdicts


def measure(server: Callable[[Multihomed, Path], contextlib.AbstractContextManager[Child]], count: int) -> Result:
    with tempfile.TemporaryDirectory() as folder, Multihomed() as network, server(network, Path(folder)) as child:
        established(network)
        verdicts = judge(network)
        one, first = cost(network, child.pid, count, 1)
        several, second = cost(network, child.pid, count, SEVERAL)
    return Result(
        server.__name__,
        one / len(first) * 1e6,
        several / len(second) * 1e6,
        statistics.median(first),
        statistics.quantiles(first, n=100)[-1],
        len(first) + len(second),
        count + count // SEVERAL * SEVERAL,
        sum(verdicts),
        len(verdicts),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = [measure(server, arguments.queries) for server in SERVERS]
    ratios = {"one": results[0].one / results[1].one, "several": results[0].several / results[1].several}
    if arguments.json:
        print(json.dumps({"results": [attrs.asdict(each) for each in results], "ratios": ratios, "goal": GOAL}))
        return
    for each in results:
        print(
            f"{each.server}: {each.one:.0f} us of CPU an answer, {each.several:.0f} where {SEVERAL} are asked at once "
            f"({each.answered} of {each.asked} answered), right by link {each.right} of {each.judged}; "
            f"an answer in {each.wait:.2f} ms, 99 of 100 in {each.long_wait:.2f}"
        )
    print(", ".join(f"{name}: {ratio:.2f}" for name, ratio in ratios.items()), f"(goal {GOAL})")


if __name__ == "__main__":
    main()

"""The network that this project is measured on: a host with two links, a client on each, and the ways to ask the host.

        client 1                                 host                                 client 2
    10.71.0.9, fd71::9  --link1--  10.71.0.1, .2      10.72.0.1, .2  --link2--  10.72.0.9, fd72::9
   fe80::9, 169.254.0.9            fd71::1, ::2        fd72::1, ::2           fe80::9, 169.254.0.9
                                     fe80::1              fe80::1
                                   169.254.0.1          169.254.0.1
                                   lo: 10.99.0.1, fd99::1

The link-local addresses are the same on both links, the clients' too, so only the interface tells them apart.  Each
client routes all by the host, which forwards nothing: a request to the other link's address is for the host itself.

A `Way` is one client asking one address; `verdict` says what is wrong with the answer.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

import attrs

from .namespaces import Lab, Namespace

PORT = 7007
GROUP_V4 = "239.255.70.7"
GROUP_V6 = "ff02::7007"
SERVICE = {4: "10.99.0.1", 6: "fd99::1"}
LINK_LOCAL = {4: "169.254.0.1", 6: "fe80::1"}
CLIENT_LINK_LOCAL = {4: "169.254.0.9", 6: "fe80::9"}

ECHO_CONFIG = f"""
[plugins.echo]
port = {PORT}
groups = ["{GROUP_V4}", "{GROUP_V6}"]
"""

PATIENCE = 5.0
"""Seconds after which a missing answer counts as silence; right servers never make a test wait for it."""

ETH_P_ALL = 3
PACKET_OUTGOING = 4


def own(link: int) -> dict[str, str]:
    """The host's own addresses on a link, by what they are."""
    return {
        "primary-v4": f"10.7{link}.0.1",
        "secondary-v4": f"10.7{link}.0.2",
        "primary-v6": f"fd7{link}::1",
        "secondary-v6": f"fd7{link}::2",
    }


def host_addresses(client: int) -> dict[str, str]:
    """All unicast addresses by which a client can ask the host."""
    return {
        **{f"own-{kind}": address for kind, address in own(client).items()},
        **{f"other-{kind}": address for kind, address in own(3 - client).items()},
        "service-v4": SERVICE[4],
        "service-v6": SERVICE[6],
        "link-local-v4": LINK_LOCAL[4],
        "link-local-v6": LINK_LOCAL[6],
    }


@attrs.frozen
class Way:
    """One client (1 or 2) asking one address; the answer must come from one of `expected`.

    `source` is the address that the client asks from; empty: the one that its system chooses.
    """

    client: int
    kind: str
    destination: str
    expected: frozenset[str]
    source: str = ""

    def __str__(self) -> str:
        return f"client{self.client}-{self.kind}"

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET if ip_address(self.destination).version == 4 else socket.AF_INET6


def unicast_ways() -> list[Way]:
    return [
        Way(client, kind, address, frozenset([address]))
        for client in (1, 2)
        for kind, address in host_addresses(client).items()
    ]


def group_ways() -> list[Way]:
    """Multicast and broadcast: the answer comes from an address of the arrival interface."""
    ways = []
    for client in (1, 2):
        addresses = own(client)
        v4 = frozenset([addresses["primary-v4"], addresses["secondary-v4"]])
        v6 = frozenset([addresses["primary-v6"], addresses["secondary-v6"]])
        link_local = {version: frozenset([address]) for version, address in LINK_LOCAL.items()}
        ways += [
            Way(client, "multicast-v4", GROUP_V4, v4),
            # Clients ask a link-local group from their link-local address, so that is what must answer.
            Way(client, "multicast-v6", GROUP_V6, link_local[6]),
            Way(client, "directed-broadcast", f"10.7{client}.0.255", v4),
            Way(client, "limited-broadcast", "255.255.255.255", v4),
            Way(client, "multicast-v6-from-global", GROUP_V6, v6, f"fd7{client}::9"),
            # From the address that both clients have: routing alone would answer all on the first link.
            Way(client, "multicast-from-link-local-v4", GROUP_V4, link_local[4], CLIENT_LINK_LOCAL[4]),
            Way(client, "directed-broadcast-link-local", "169.254.255.255", link_local[4], CLIENT_LINK_LOCAL[4]),
            Way(client, "limited-broadcast-link-local", "255.255.255.255", link_local[4], CLIENT_LINK_LOCAL[4]),
        ]
    return ways


def all_ways() -> list[Way]:
    return unicast_ways() + group_ways()


class Multihomed:
    """The network of this module; a context manager."""

    def __init__(self) -> None:
        self._lab = Lab()
        self._tokens = itertools.count()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            lab = stack.enter_context(self._lab)
            self.host = lab.namespace("host")
            self.clients = {number: lab.namespace(f"client{number}") for number in (1, 2)}
            self.host.ip(f"addr add {SERVICE[4]}/32 dev lo", f"addr add {SERVICE[6]}/128 dev lo nodad")
            for number, client in self.clients.items():
                self._connect(number, client)
            stack.pop_all()
        return self

    def _connect(self, number: int, client: Namespace) -> None:
        link = f"link{number}"
        self._lab.link(self.host, link, client, link)
        self.host.ip(
            *(
                f"addr add {address}/24 brd + dev {link}" if "v4" in kind else f"addr add {address}/64 dev {link} nodad"
                for kind, address in own(number).items()
            ),
            f"addr add {LINK_LOCAL[4]}/16 brd + dev {link}",
            f"addr add {LINK_LOCAL[6]}/64 dev {link} nodad",
        )
        client.ip(
            f"addr add 10.7{number}.0.9/24 brd + dev {link}",
            f"addr add fd7{number}::9/64 dev {link} nodad",
            f"addr add {CLIENT_LINK_LOCAL[4]}/16 brd + dev {link}",
            f"addr add {CLIENT_LINK_LOCAL[6]}/64 dev {link} nodad",
            f"route add default via 10.7{number}.0.1",
            f"route add ::/0 via {LINK_LOCAL[6]} dev {link}",
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lab.__exit__(kind, error, at)

    def token(self) -> bytes:
        """A payload that no other request has."""
        return b"token-%08d." % next(self._tokens)

    def address_of(self, way: Way, port: int = PORT) -> tuple[str, int] | tuple[str, int, int, int]:
        """The way's destination as a sockaddr; IPv6 that needs it has the client's own link as scope."""
        if way.family == socket.AF_INET:
            return (way.destination, port)
        scoped = way.destination.startswith(("fe80", "ff02"))
        return (way.destination, port, 0, self.link_index(way.client) if scoped else 0)

    def link_index(self, client: int) -> int:
        return self.clients[client].ifindex(f"link{client}")

    def client_socket(self, way: Way) -> socket.socket:
        """An unconnected UDP socket of the way's client, so that it hears answers from wrong addresses too."""
        sock = self.clients[way.client].socket(way.family, socket.SOCK_DGRAM)
        if way.family == socket.AF_INET:
            index = self.link_index(way.client)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), index))
        if way.source:
            sock.bind((way.source, 0))
        sock.settimeout(PATIENCE)
        return sock

    def ask(self, way: Way, port: int = PORT) -> str:
        """Ask, and say what is wrong with the answer: "" for nothing."""
        token = self.token()
        with self.client_socket(way) as sock:
            sock.sendto(token, self.address_of(way, port))
            return self.verdict(way, sock, token, port)

    def exchange(self, way: Way, payload: bytes, port: int) -> tuple[bytes, Sequence[Any]]:
        """The answer to a payload, and its source, a sockaddr.  Raises TimeoutError for silence."""
        with self.client_socket(way) as sock:
            sock.sendto(payload, self.address_of(way, port))
            return sock.recvfrom(65535)

    def verdict(self, way: Way, sock: socket.socket, token: bytes, port: int = PORT) -> str:
        """What is wrong with the answer that is to come on `sock`."""
        try:
            payload, source = sock.recvfrom(65535)
        except TimeoutError:
            return "silence"
        return f"answers {payload!r}" if payload != token else self.verdict_on_source(way, source, port)

    def verdict_on_source(self, way: Way, source: Sequence[Any], port: int = PORT) -> str:
        """What is wrong with an answer's source, a sockaddr: "" for nothing."""
        if source[0].partition("%")[0] not in way.expected:
            return f"from {source[0]}"
        if source[1] != port:
            return f"from port {source[1]}"
        if source[0].startswith("fe80") and source[3] != self.link_index(way.client):
            return f"from scope {source[3]}"
        return ""

    @contextlib.contextmanager
    def hears_nothing(self, client: int) -> Iterator[None]:
        """Raises AssertionError if, while in the context, the client's link carried a token not of its own.

        No waiting: at the end the client asks the server itself, and what had been sent before stands before that
        answer on the link.
        """
        way = next(way for way in unicast_ways() if way.client == client)
        with self.clients[client].socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as sniffer:
            sniffer.bind((f"link{client}", ETH_P_ALL))
            sniffer.settimeout(PATIENCE)
            yield
            token = self.token()
            with self.client_socket(way) as sock:
                sock.sendto(token, self.address_of(way))
                while True:
                    frame, (_interface, _protocol, direction, *_) = sniffer.recvfrom(65535)
                    if direction == PACKET_OUTGOING:
                        continue
                    if token in frame:
                        return
                    assert b"token-" not in frame, f"client {client} heard {frame!r}"

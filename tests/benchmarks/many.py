"""The row of many: 1,000 addresses on 300 interfaces and 10,000 policy prefixes, against one of each.

    python -m tests.benchmarks many --force --repeat 3 --seconds 2

Two hosts, each a namespace with a client's at the other end of its links (veth).  "many" is asked at every one of its
addresses in turn, so that each datagram comes by another way than the one before; the C loop on the same hosts tells
what of the difference is the kernel's.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tests.lab.namespaces import Namespace

from .comparing import Goal, Result, alternate
from .running import Bench, Server, echo_run

INTERFACES, ADDRESSES, PREFIXES = 300, 1000, 10_000

MANY = (
    Goal("1,000 addresses in turn against 1", "ours, many in turn", "ours, one", at_least=0.95),
    Goal("one of the 1,000 addresses against 1", "ours, one of many", "ours, one"),
    Goal("the same of the C batch loop, in turn", "C batch, many in turn", "C batch, one"),
)


@attrs.frozen(eq=False)
class Host:
    host: Namespace
    client: Namespace
    addresses: Sequence[str]


def addresses_of(link: int, links: int, addresses: int) -> list[str]:
    """The host's share of `addresses` on a link: the first is on the link's own network, the others are behind it."""
    count = addresses // links + (link < addresses % links)
    return [f"10.{100 + link // 250}.{link % 250}.1"] + [
        f"10.{110 + link // 250}.{link % 250}.{number}" for number in range(1, count)
    ]


def link_address(link: int, end: int) -> str:
    """A locally administered hardware address (IEEE 802, section 8.4) for each end."""
    return f"02:00:00:{end:02x}:{link >> 8:02x}:{link & 255:02x}"


def make_host(bench: Bench, name: str, links: int, addresses: int) -> Host:
    """A host with so many links to its client.

    Neighbours are permanent: the kernel's table, of all namespaces together, is smaller than they are many.
    """
    host, client = bench.lab.namespace(name), bench.lab.namespace(f"{name}-client")
    before, here, there, asked = [], [], [], []
    for link in range(links):
        own = addresses_of(link, links, addresses)
        far = own[0].removesuffix(".1") + ".2"
        before.append(
            f"link add v{link} address {link_address(link, 1)} type veth"
            f" peer name v{link} address {link_address(link, 2)} netns {client.name}"
        )
        here += [f"addr add {own[0]}/24 dev v{link}", *(f"addr add {each}/32 dev v{link}" for each in own[1:])]
        here += [f"link set v{link} up", f"neigh add {far} lladdr {link_address(link, 2)} dev v{link} nud permanent"]
        there += [f"addr add {far}/24 dev v{link}", f"link set v{link} up"]
        there.append(f"neigh add {own[0]} lladdr {link_address(link, 1)} dev v{link} nud permanent")
        if own[1:]:
            there.append(f"route add {own[1].rpartition('.')[0]}.0/24 via {own[0]}")
        asked += own
    host.ip(*before, *here)
    client.ip(*there)
    return Host(host, client, asked)


def prefixes(count: int, second: int) -> list[str]:
    """Prefixes of 24 to 31 bits that hold none of the clients: what a policy that grew has."""
    return [f"{second}.{n >> 8 & 255}.{n & 255}.0/{24 + n % 8}" for n in range(count)]


def many(bench: Bench) -> Result:
    """Ours and the C loop on a host with one of each, and on one with many."""
    one = make_host(bench, "one", 1, 1)
    big = make_host(bench, "many", INTERFACES, ADDRESSES)
    allow, half = ("10.0.0.0/8", "127.0.0.0/8"), PREFIXES // 2
    servers = {
        "one": bench.ours(one.host, "one", "plain", allow=allow[:1], deny=prefixes(1, 12)),
        "many": bench.ours(big.host, "many", "plain", allow=[*allow, *prefixes(half - 2, 11)], deny=prefixes(half, 12)),
    }
    loops = {}
    for name, each in (("one", one), ("many", big)):
        port = bench.port()
        pid = bench.child(each.host, str(bench.native("loops")), "batch", str(port))
        loops[name] = Server(f"C batch, {name}", each.host, port, pid)
    # The one address of the small host is asked the same way, as one of a list, so that the load costs the same.
    cases = {
        "ours, one": (servers["one"], one, [*one.addresses, *one.addresses]),
        "ours, one of many": (servers["many"], big, [big.addresses[0]] * 2),
        "ours, many in turn": (servers["many"], big, big.addresses),
        "C batch, one": (loops["one"], one, [*one.addresses, *one.addresses]),
        "C batch, many in turn": (loops["many"], big, big.addresses),
    }
    measures = {
        name: lambda server=server, host=host, asked=asked: echo_run(bench, server, client=host.client, addresses=asked)
        for name, (server, host, asked) in cases.items()
    }
    title = f"Echo, {ADDRESSES:,} addresses, {INTERFACES} interfaces, {PREFIXES:,} prefixes, answers a second"
    return Result("many", title, alternate(measures, bench.rounds), MANY)

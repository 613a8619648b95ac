"""The UDP socket of a Linux host with two links: every way in and out, groups, and what goes wrong on the way."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from ipaddress import ip_address

import pytest

if sys.platform != "linux":
    pytest.skip("Linux only", allow_module_level=True)

from responder.datagram import Interface, IPAddress, Via
from responder.errors import SendRefused, SourceUnavailable, Unreachable
from responder.net.types import Membership, Route

from ..conftest import Links
from ..support import answer, drained, only, to

UNICAST = [
    ("10.71.0.1", "link1"),
    ("10.71.0.2", "link1"),
    ("10.72.0.1", "link2"),
    ("10.99.0.1", "link1"),
    ("fd71::1", "link1"),
    ("fd72::1", "link2"),
    ("fd99::1", "link1"),
]


@pytest.mark.lab
async def test_every_way_of_a_host_with_two_links(links: Links) -> None:
    with closing(links.host_platform.open_udp(0)) as server, closing(links.client_platform.open_udp(0)) as client:
        for address, link in UNICAST:
            client.send([to(address, server.port)])
            request = await only(server)
            flow = request.flow
            assert (flow.destination, flow.via) == (ip_address(address), Via.UNICAST)
            assert flow.interface == links.host.ifindex(link)
            server.send([answer(request)])
            assert (await only(client)).flow.peer == ip_address(address)


@pytest.mark.lab
@pytest.mark.parametrize("destination", ["10.71.0.255", "255.255.255.255", "239.255.70.7", "ff02::7007"])
async def test_broadcast_and_multicast(links: Links, destination: str) -> None:
    group = ip_address(destination)
    link1 = links.host.ifindex("link1")
    with closing(links.host_platform.open_udp(0)) as server, closing(links.client_platform.open_udp(0)) as client:
        if group.is_multicast:
            server.join(Membership(group, link1), Interface(link1, "link1"))
        source = "fe80::9" if group.version == 6 else "10.71.0.9"
        out = links.client.ifindex("link1")
        client.send([to(destination, server.port, source=source, interface=out, hop_limit=3)])
        request = await only(server)
        flow = request.flow
        assert (flow.peer, flow.destination, flow.interface) == (ip_address(source), group, link1)
        assert flow.via is (Via.MULTICAST if group.is_multicast else Via.BROADCAST)
        assert flow.local == (ip_address("10.71.0.1") if group.version == 4 else None)
        assert request.hop_limit == 3
        own = flow.local or ip_address("fe80::1")
        reply = Route(flow.peer, flow.scope_id, own, interface=link1)
        server.send([(b"answer", reply, request.peer_port)])
        assert (await only(client)).flow.peer == own


@pytest.mark.lab
async def test_the_same_link_local_address_on_two_links(links: Links) -> None:
    with closing(links.host_platform.open_udp(0)) as server, closing(links.client_platform.open_udp(0)) as client:
        flows = []
        for link in ("link1", "link2"):
            out = links.client.ifindex(link)
            client.send([to("fe80::1", server.port, source="fe80::9", scope_id=out)])
            request = await only(server)
            assert request.flow.interface == request.flow.scope_id == links.host.ifindex(link)
            server.send([answer(request)])
            reply = await only(client)
            assert (reply.flow.peer, reply.flow.scope_id, reply.flow.interface) == (ip_address("fe80::1"), out, out)
            flows.append(request.flow)
        assert flows[0] is not flows[1]


@pytest.mark.lab
@pytest.mark.parametrize(("address", "peer"), [("10.71.0.2/24", "10.71.0.9"), ("fd71::1/64", "fd71::9")])
async def test_a_source_that_vanished(links: Links, address: str, peer: str) -> None:
    with closing(links.host_platform.open_udp(0)) as server, closing(links.client_platform.open_udp(0)) as client:
        message = to(peer, client.port, source=address.partition("/")[0])
        assert server.send([message]) == 1
        # Another address keeps the route, so that the source alone is missing.
        links.host.ip("addr add fd71::8/64 dev link1 nodad", f"addr del {address} dev link1")
        with pytest.raises(SourceUnavailable):
            links.host.call(lambda: server.send([message]))
        assert server.send([to("10.72.0.9", client.port)]) == 1
        await drained(client, 2)


@pytest.mark.lab
@pytest.mark.parametrize(("source", "peer"), [("10.71.0.1", "192.0.2.1"), ("fd71::1", "2001:db8::1")])
async def test_no_route_is_not_the_sources_fault(links: Links, source: str, peer: str) -> None:
    with closing(links.host_platform.open_udp(0)) as server:
        for message in (to(peer, 9, source=source), to(peer, 9)):
            with pytest.raises(Unreachable):
                links.host.call(partial(server.send, [message]))


@pytest.mark.lab
async def test_a_link_that_goes_down(links: Links) -> None:
    with closing(links.host_platform.open_udp(0)) as server, closing(links.client_platform.open_udp(0)) as client:
        links.host.ip("link set link1 down")
        with pytest.raises((Unreachable, SourceUnavailable)):
            links.host.call(lambda: server.send([to("10.71.0.9", client.port, source="10.71.0.1")]))
        index = links.host.ifindex("link1")
        with pytest.raises(Unreachable):
            links.host.call(lambda: server.send([to("239.255.70.7", 9, source="10.71.0.1", interface=index)]))
        client.send([to("10.72.0.1", server.port, source="10.72.0.9")])
        server.send([answer(await only(server))])
        assert (await only(client)).flow.peer == ip_address("10.72.0.1")


@pytest.mark.lab
@pytest.mark.clients("nft")
async def test_a_firewalls_drop_is_for_the_moment(links: Links) -> None:
    links.host.run("nft", "add table inet t; add chain inet t out { type filter hook output priority 0; }")
    with closing(links.host_platform.open_udp(0)) as server, closing(links.client_platform.open_udp(0)) as client:
        links.host.run("nft", "add rule inet t out udp dport 9 drop")
        for peer in ("10.71.0.9", "fd71::9"):
            with pytest.raises(SendRefused) as caught:
                server.send([to(peer, 9)])
            assert caught.value.errno == errno.EPERM
            assert server.send([to(peer, client.port)]) == 1
        await drained(client, 2)


@pytest.mark.lab
async def test_a_group_that_another_socket_joined_is_not_heard(links: Links) -> None:
    link1 = links.host.ifindex("link1")
    link = Interface(link1, "link1")
    out = links.client.ifindex("link1")
    with (
        closing(links.host_platform.open_udp(0, shared=True)) as server,
        closing(links.host_platform.open_udp(0)) as other,
        closing(links.client_platform.open_udp(0)) as client,
    ):
        for group, source, own in (("239.255.70.7", "10.71.0.9", "10.71.0.1"), ("ff02::7007", "fe80::9", "fd71::1")):
            membership = Membership(ip_address(group), link1)
            asks = to(group, server.port, b"group", source=source, interface=out)
            mark = to(own, server.port, b"mark")
            other.join(membership, link)
            client.send([asks, mark])
            assert (await only(server)).payload == b"mark"
            server.join(membership, link)
            server.join(membership, link)  # twice is no error
            client.send([asks, mark])
            assert [request.payload for request in await drained(server, 2)] == [b"group", b"mark"]
            server.leave(membership, link)
            client.send([asks, mark])
            assert (await only(server)).payload == b"mark"
            with pytest.raises(OSError, match="assign requested address"):
                server.leave(membership, link)


@pytest.mark.lab
@pytest.mark.parametrize(("group", "source"), [("232.1.2.3", "10.71.0.9"), ("ff32::7007", "fe80::9")])
async def test_a_group_of_one_source(links: Links, group: str, source: str) -> None:
    link1 = links.host.ifindex("link1")
    link = Interface(link1, "link1")
    out = links.client.ifindex("link1")
    wanted = Membership(ip_address(group), link1, ip_address(source))
    other = "10.71.0.77" if "." in source else "fe80::77"
    links.client.ip(f"addr add {other}/{24 if '.' in source else 64} dev link1" + ("" if "." in source else " nodad"))
    with closing(links.host_platform.open_udp(0)) as server, closing(links.client_platform.open_udp(0)) as client:
        server.join(wanted, link)
        server.join(wanted, link)
        for sender, payload in ((other, b"other"), (source, b"wanted")):
            client.send([to(group, server.port, payload, source=sender, interface=out)])
        assert (await only(server)).payload == b"wanted"
        server.leave(wanted, link)
        with pytest.raises(OSError, match=r"Invalid argument|assign requested"):
            server.leave(wanted, link)


@pytest.mark.lab
async def test_two_that_share_a_port_both_hear_the_group(links: Links) -> None:
    link1 = links.host.ifindex("link1")
    out = links.client.ifindex("link1")
    group = ip_address("239.255.70.7")
    with (
        closing(links.host_platform.open_udp(0, shared=True)) as one,
        closing(links.host_platform.open_udp(one.port, shared=True)) as two,
        closing(links.client_platform.open_udp(0)) as client,
    ):
        for sock in (one, two):
            sock.join(Membership(group, link1), Interface(link1, "link1"))
        client.send([to(str(group), one.port, b"both", source="10.71.0.9", interface=out)])
        for sock in (one, two):
            assert (await only(sock)).payload == b"both"


@pytest.mark.lab
async def test_more_memberships_than_one_socket_may_have(links: Links) -> None:
    link1 = Interface(links.host.ifindex("link1"), "link1")
    groups = [ip_address(f"239.255.71.{number}") for number in range(45)]
    out = links.client.ifindex("link1")

    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    with closing(links.host_platform.open_udp(0)) as server, closing(links.client_platform.open_udp(0)) as client:

        def change(what: Callable[[Membership, Interface], None], chosen: Sequence[IPAddress]) -> None:
            # In the namespace: helper sockets are made where the call is.
            links.host.call(lambda: [what(Membership(group, link1.index), link1) for group in chosen])

        async def heard(chosen: Sequence[IPAddress]) -> None:
            messages = [to(str(group), server.port, str(group).encode(), interface=out) for group in groups]
            assert client.send(messages) == len(messages)
            client.send([to("10.71.0.1", server.port, b"mark")])
            payloads = [request.payload.decode() for request in await drained(server, len(chosen) + 1)]
            assert payloads == [*map(str, chosen), "mark"]

        files = open_files()
        change(server.join, groups)
        assert open_files() == files + 2, "20 memberships each"
        change(server.join, groups)  # twice is no error
        await heard(groups)
        # Room that is given back is used again.
        change(server.leave, groups[:20])
        change(server.join, groups[:20])
        assert open_files() == files + 2
        change(server.leave, groups[20:])
        assert open_files() == files
        await heard(groups[:20])
        # Without helpers, what others join is not heard.
        with closing(links.host_platform.open_udp(0)) as other:
            other.join(Membership(groups[30], link1.index), link1)
            await heard(groups[:20])
        change(server.join, groups[20:])
        assert open_files() == files + 2
    assert open_files() < files, "closed with it"


@pytest.mark.lab
async def test_a_membership_whose_interface_is_gone_is_left(links: Links) -> None:
    """And takes no room: 20 is the limit of a socket."""
    with closing(links.host_platform.open_udp(0)) as server:
        files = len(os.listdir("/proc/self/fd"))
        for number in range(25):
            links.host.ip("link add wire type veth peer name end")
            index = links.host.ifindex("wire")
            source = ip_address("10.0.0.9") if number % 2 else None
            membership = Membership(ip_address("232.1.1.1"), index, source)
            links.host.call(partial(server.join, membership, Interface(index, "wire")))
            links.host.ip("link del wire")
            server.leave(membership, None)
        assert len(os.listdir("/proc/self/fd")) == files

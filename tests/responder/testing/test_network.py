"""The fake network behaves as a real one where a responder can notice; the framework's real server runs on it."""

from __future__ import annotations

import contextlib

import dns.message
import pytest
import trio
import trio.testing
from responder_plugins.whoami import Whoami

from responder.errors import BindError, MessageTooLong, SendError, SourceUnavailable, Unreachable
from responder.net.types import Membership, Route
from responder.testing import FakeHost, FakeNetwork, MultihomedNetwork, NoAnswer, settled
from responder.testing.sockets import QUEUE_LIMIT, to_address
from tests.lab.multihomed import GROUP_V4, GROUP_V6, PORT, Way, all_ways
from tests.lab.test_right_source import SECOND_LINK, UNKNOWABLE
from tests.responder.testing.plugins import Beacon, Drip, Echo, Late

ON_LINK = ("fe80", "ff02", "239.", "255.", "169.")


async def source_of_answer(network: MultihomedNetwork, way: Way) -> str:
    """Where the answer to a way of asking comes from; "" for silence."""
    client = network.clients[way.client].client()
    on = network.interfaces[way.client] if way.destination.startswith(ON_LINK) else None
    await client.send(b"x", way.destination, PORT, interface=on, source=way.source or None)
    await settled()
    heard = client.heard()
    client.close()
    assert len(heard) <= 1
    return str(heard[0].source.address) if heard else ""


@pytest.mark.parametrize("way", all_ways(), ids=str)
async def test_the_server_answers_right(multihomed_network: MultihomedNetwork, way: Way) -> None:
    async with multihomed_network.server.serve(Echo(), port=PORT, groups=[GROUP_V4, GROUP_V6]):
        assert await source_of_answer(multihomed_network, way) in way.expected


async def plain_echo(host: FakeHost) -> None:
    """By recvfrom and sendto, as programs have it that don't ask for pktinfo."""
    socket = host.open_udp(PORT)
    for interface in host.snapshots():
        for group in (GROUP_V4, GROUP_V6):
            socket.join(Membership(to_address(group), interface.index), interface)
    while True:
        await socket.wait_readable()
        for received in socket.receive(16):
            with contextlib.suppress(SendError):
                socket.send([(received.payload, Route(received.flow.peer, received.flow.scope_id), received.peer_port)])


async def test_a_plain_echo_is_as_wrong_as_on_a_real_network(
    multihomed_network: MultihomedNetwork, nursery: trio.Nursery
) -> None:
    """So the test above measures the source: without one, 20 of the 40 ways go wrong, as on Linux (tests/lab)."""
    nursery.start_soon(plain_echo, multihomed_network.server)
    await settled()
    wrong = {str(way) for way in all_ways() if await source_of_answer(multihomed_network, way) not in way.expected}
    assert len(wrong) == 20
    assert wrong >= UNKNOWABLE | SECOND_LINK
    nursery.cancel_scope.cancel()


async def test_a_client_does_not_take_an_answer_from_elsewhere(
    multihomed_network: MultihomedNetwork, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    nursery.start_soon(plain_echo, multihomed_network.server)
    await settled()
    client = multihomed_network.clients[1].client()
    assert (await client.ask(b"x", "10.71.0.1", PORT)).payload == b"x"
    with pytest.raises(NoAnswer, match=r"no answer from 10.71.0.2 port 7007 within 5.0 s; heard from 10.71.0.1:7007"):
        await client.ask(b"x", "10.71.0.2", PORT)
    nursery.cancel_scope.cancel()


def pair(network: FakeNetwork, **quality: float | tuple[float, float]) -> tuple[FakeHost, FakeHost]:
    link = network.link("eth0", **quality)  # type: ignore[arg-type]  # each takes what its test gives
    one, other = network.host("one"), network.host("other")
    one.attach(link, "192.0.2.1/24", "2001:db8::1/64")
    other.attach(link, "192.0.2.9/24", "2001:db8::9/64")
    return one, other


async def test_a_delay_passes_on_the_fake_clock(
    fake_network: FakeNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    server, host = pair(fake_network, delay=30.0)
    async with server.serve(Echo()):
        heard = await host.client().ask(b"x", "192.0.2.1", 7007, within=100)
    assert heard.time == 60.0


async def test_random_delays_let_datagrams_overtake_each_other(
    fake_network: FakeNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    server, host = pair(fake_network, delay=(0.0, 1.0))
    receiver, sender = server.client(port=9), host.client()
    for number in range(50):
        await sender.send(bytes([number]), "192.0.2.1", 9)
    await trio.sleep(2)
    order = [heard.payload[0] for heard in receiver.heard()]
    assert sorted(order) == list(range(50))
    assert order != sorted(order)


async def test_loss_and_duplication_are_shares_and_can_be_repeated() -> None:
    async def counts(seed: int) -> tuple[int, int]:
        network = FakeNetwork(seed)
        server, host = pair(network, loss=0.3)
        receiver, sender = server.client(port=9), host.client()
        for _ in range(1000):
            await sender.send(b"x", "192.0.2.1", 9)
        lossy = len(receiver.heard())
        network.links[0].loss, network.links[0].duplicate = 0.0, 0.5
        for _ in range(1000):
            await sender.send(b"x", "192.0.2.1", 9)
        return lossy, len(receiver.heard())

    lossy, duplicated = await counts(1)
    assert 600 < lossy < 800
    assert 1400 < duplicated < 1600
    assert await counts(1) == (lossy, duplicated)
    assert await counts(2) != (lossy, duplicated)


async def test_routers_forward_until_the_hop_limit_ends(fake_network: FakeNetwork) -> None:
    near, far = fake_network.link("near"), fake_network.link("far")
    host, router, server = (
        fake_network.host("host"),
        fake_network.host("router", forwards=True),
        fake_network.host("server"),
    )
    host.route("default", via="10.0.0.1", interface=host.attach(near, "10.0.0.9/24"))
    router.attach(near, "10.0.0.1/24")
    router.attach(far, "10.1.0.1/24")
    server.route("10.0.0.0/24", via="10.1.0.1", interface=server.attach(far, "10.1.0.2/24"))
    async with server.serve(Echo()):
        client = host.client()
        assert (await client.ask(b"x", "10.1.0.2", 7007)).hop_limit == 63
        await client.send(b"x", "10.1.0.2", 7007, hop_limit=1)
        await settled()
        assert client.heard() == []
        router.forwards = False
        await client.send(b"x", "10.1.0.2", 7007)
        await settled()
        assert client.heard() == []


async def test_what_a_vanished_address_or_a_missing_way_does_to_a_sender(fake_network: FakeNetwork) -> None:
    one, _other = pair(fake_network)
    client = one.client()
    with pytest.raises(SourceUnavailable):
        await client.send(b"x", "192.0.2.9", 9, source="192.0.2.77")
    with pytest.raises(Unreachable):
        await client.send(b"x", "198.51.100.1", 9)
    with pytest.raises(MessageTooLong):
        await client.send(bytes(65508), "192.0.2.9", 9)
    one.loopback.down()
    next(each for each in fake_network.links[0].interfaces if each.host is one).down()
    with pytest.raises(Unreachable):
        await client.send(b"x", "192.0.2.9", 9)


async def test_ports_can_be_had_once_unless_all_share(fake_network: FakeNetwork) -> None:
    one, _other = pair(fake_network)
    one.open_udp(53)
    with pytest.raises(BindError, match="UDP port 53 is taken"):
        one.open_udp(53, to_address("192.0.2.1"))
    with pytest.raises(BindError, match="has no address"):
        one.open_udp(54, to_address("192.0.2.77"))
    first, second = one.open_udp(1900, shared=True), one.open_udp(1900, shared=True)
    with pytest.raises(BindError):
        one.open_udp(1900)
    first.close()
    second.close()
    one.open_udp(1900)


async def test_a_full_queue_drops_and_counts(fake_network: FakeNetwork) -> None:
    one, other = pair(fake_network)
    receiver, sender = one.client(port=9), other.client()
    for _ in range(QUEUE_LIMIT + 7):
        await sender.send(b"x", "192.0.2.1", 9)
    assert (len(receiver.heard()), receiver.socket.kernel_drops) == (QUEUE_LIMIT, 7)


async def test_groups_are_heard_where_they_are_joined_only(multihomed_network: MultihomedNetwork) -> None:
    host, first = multihomed_network.clients[1], multihomed_network.interfaces[1]
    other = multihomed_network.server.client(port=9)
    own = {each.name: each for each in multihomed_network.numbered[1].interfaces if each.host is not host}
    sender = host.client()
    await sender.send(b"early", "239.255.70.7", 9, interface=first)
    other.join("239.255.70.7", own["link1"])
    await sender.send(b"heard", "239.255.70.7", 9, interface=first)
    await multihomed_network.clients[2].client().send(b"other link", "239.255.70.7", 9)
    heard = other.heard()
    assert [each.payload for each in heard] == [b"heard"]
    assert heard[0].hop_limit == 1


async def test_a_source_group_hears_that_source_only(fake_network: FakeNetwork) -> None:
    one, other = pair(fake_network)
    receiver, sender = one.client(port=9), other.client()
    receiver.join("232.1.2.3", fake_network.links[0].interfaces[0], source="192.0.2.9")
    await sender.send(b"meant", "232.1.2.3", 9)
    fake_network.links[0].inject(b"other", source="192.0.2.8", source_port=9, to="232.1.2.3", port=9)
    assert [each.payload for each in receiver.heard()] == [b"meant"]


async def test_a_plugin_beacons_and_follows_the_links(
    fake_network: FakeNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    server, host = pair(fake_network)
    listener, (own, interface) = host.client(port=7007), fake_network.links[0].interfaces
    listener.join("239.255.70.7", interface)
    async with server.serve(Beacon()):
        await trio.sleep(150)
        assert [(each.time, each.payload) for each in listener.heard()] == [(at, b"hello") for at in (0, 60, 120)]
        own.unplug()
        await trio.sleep(60)
        assert listener.heard() == []
        own.plug()
        await trio.sleep(10)
        (heard,) = listener.heard()
        assert heard.time == pytest.approx(210.3)  # damped by 0.3 s
    assert [each.payload for each in listener.heard()] == [b"bye"]


async def test_an_address_that_comes_is_served_and_one_that_goes_is_not(fake_network: FakeNetwork) -> None:
    server, host = pair(fake_network)
    own, _ = fake_network.links[0].interfaces
    async with server.serve(Echo()):
        client = host.client()
        own.add("192.0.2.3/24")
        assert (await client.ask(b"x", "192.0.2.3", 7007)).payload == b"x"
        own.remove("192.0.2.3")
        await client.send(b"x", "192.0.2.3", 7007)
        await settled()
        assert client.heard() == []
        with pytest.raises(ValueError, match="has no address"):
            own.remove("192.0.2.3")


async def test_an_interface_that_goes_takes_its_memberships_with_it(
    multihomed_network: MultihomedNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    network = multihomed_network
    async with network.server.serve(Late(), groups=["239.255.70.7"]) as server:
        (live,) = server._core.ports.serving.values()
        assert {each.interface for each in live.memberships.joined} == {2, 3}
        network.numbered[2].interfaces[0].disappear()
        await trio.sleep(1)
        assert {each.interface for each in live.memberships.joined} == {2}
        network.server.attach(network.numbered[2], "10.72.0.1/24", name="again")
        await trio.sleep(1)
        assert {each.interface for each in live.memberships.joined} == {2, 4}
        network.server.interface(4).rename("other")  # type: ignore[union-attr]  # it was attached just now
        await trio.sleep(1)
        assert server._core.table.named("other") is not None
        assert (await network.clients[2].client().ask(b"x", "239.255.70.7", PORT)).payload == b"late"


async def test_answers_in_pieces_come_when_they_are_made(
    fake_network: FakeNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    server, host = pair(fake_network)
    async with server.serve(Drip()):
        client = host.client()
        await client.send(b"x", "192.0.2.1", 7007)
        heard = [await client.receive() for _ in range(3)]
    assert [(each.time, each.payload) for each in heard] == [(1, b"\0"), (2, b"\1"), (3, b"\2")]


async def test_tcp_connections_tell_their_way(multihomed_network: MultihomedNetwork) -> None:
    network = multihomed_network
    async with network.server.serve(Whoami(), port=53):
        stream = await network.clients[2].connect("10.71.0.2", 53)
        query = dns.message.make_query("x.test", "TXT").to_wire()
        await stream.send_all(len(query).to_bytes(2) + query)
        with trio.fail_after(5):
            reply = await stream.receive_some(4096)
        assert b"interface=link2" in bytes(reply)
        with pytest.raises(ConnectionRefusedError):
            await network.clients[2].connect("10.71.0.2", 54)
        with pytest.raises(OSError, match="no way"):
            await network.server.connect("10.71.0.77", 53)
        await trio.aclose_forcefully(stream)


async def test_a_full_kernel_makes_a_sender_wait(fake_network: FakeNetwork, nursery: trio.Nursery) -> None:
    one, other = pair(fake_network)
    receiver, sender = one.client(port=9), other.client()
    sender.socket.make_room(0)
    nursery.start_soon(sender.send, b"x", "192.0.2.1", 9)
    await settled()
    assert receiver.heard() == []
    sender.socket.make_room(1)
    await settled()
    assert [each.payload for each in receiver.heard()] == [b"x"]


async def test_a_closed_socket_frees_who_waits(fake_network: FakeNetwork, nursery: trio.Nursery) -> None:
    one, _other = pair(fake_network)
    client = one.client(port=9)

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await client.receive()

    nursery.start_soon(wait)
    await settled()
    client.close()


def test_each_interface_with_ipv6_has_a_link_local_address(fake_network: FakeNetwork) -> None:
    one, other = pair(fake_network)
    assert [str(own.address) for own in one.snapshots()[1].addresses] == ["192.0.2.1", "2001:db8::1", "fe80::1:2"]
    assert [str(own.address) for own in other.snapshots()[1].addresses][-1] == "fe80::2:2"
    given = fake_network.host("three").attach(fake_network.links[0], "fe80::77/64")
    assert [str(own.address) for own in given.snapshot().addresses] == ["fe80::77"]


async def test_what_a_link_carried_is_remembered(fake_network: FakeNetwork) -> None:
    server, host = pair(fake_network)
    async with server.serve(Echo()):
        await host.client().ask(b"x", "2001:db8::1", 7007)
    seen = [(str(each.packet.source), each.packet.port) for each in fake_network.links[0].carried]
    assert seen[0] == ("2001:db8::9", 7007)
    assert seen[1][0] == "2001:db8::1"

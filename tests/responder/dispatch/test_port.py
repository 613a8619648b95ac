"""Dispatch, on a fake platform: what a plugin sees, how its answers go, and that none hurts the next."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from responder import PASS, Answer, Datagram, Peer, Reply, Service, Unreachable, Via
from responder.config.instance import Instance
from responder.dispatch import outcomes
from responder.errors import PeerError
from responder.net.types import Flow
from responder.server.interfaces import RESCAN_PAUSE
from tests.fakes import GUEST, LAN, LOOPBACK, FakePlatform, FakeReceived, flow

from .bench import Probe, Twofold, bench, echo


async def test_a_reply_goes_back_from_the_address_that_was_asked() -> None:
    async with bench(echo) as it:
        await it.deliver(FakeReceived(b"ping", flow(), port=4711))
        (reply,) = it.socket.sent
        assert (reply.payload, reply.port) == (b"ping", 4711)
        assert (str(reply.route.to), str(reply.route.source), reply.route.interface) == ("10.71.0.9", "10.71.0.2", 0)
        assert it.count(outcomes.ANSWERED) == 1


async def test_a_plugin_sees_all_of_a_datagram() -> None:
    seen: list[Datagram] = []
    arrived = time.time() - 5
    async with bench(seen.append) as it:
        now = trio.current_time()
        asked = flow("fe80::9", "ff02::7007", scope_id=2)
        await it.deliver(FakeReceived(b"x", asked, port=4711, hop_limit=3, timestamp=arrived))
        (request,) = seen
        assert request.peer == Peer("fe80::9", 4711, 2)
        assert (request.destination, request.interface, request.via) == (ip_address("ff02::7007"), LAN, Via.MULTICAST)
        assert (request.service, request.port, request.hop_limit) == ("default", 7007, 3)
        assert now - 6 < request.arrival < now - 4
        # it equals an ordinary one with the same fields
        ordinary = Datagram(**{name: getattr(request, name) for name in attrs.fields_dict(Datagram)})
        assert request == ordinary == attrs.evolve(request)
        assert hash(request) == hash(attrs.evolve(request))
        assert it.count(outcomes.SILENT) == 1


@attrs.frozen
class Anywhere(Probe):
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, needs_destination=False),)


async def test_both_families_ask_where_the_platform_tells_no_destination() -> None:
    async with bench(Instance.of(Anywhere(lambda request: str(request.destination).encode()))) as it:
        await it.deliver(*[FakeReceived(b"x", flow(peer, None)) for peer in ("10.71.0.9", "fd71::9")])
        assert it.replies() == [b"0.0.0.0", b"::"]


async def test_an_address_that_has_become_a_broadcast_address_is_one() -> None:
    """The kernel says it with each datagram, and by the address that it would answer from itself."""
    async with bench(lambda request: request.via.name.encode()) as it:
        for local, via in (("10.71.0.255", Via.UNICAST), ("10.71.0.1", Via.BROADCAST)):
            await it.deliver(FakeReceived(b"x", flow("10.71.0.9", "10.71.0.255", local=local, via=via)))
        assert it.replies() == [b"UNICAST", b"BROADCAST"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", [b""]),
        (Reply(b"one"), [b"one"]),
        ([b"one", Reply(b"two")], [b"one", b"two"]),
        ((b"one",), [b"one"]),
        ([], []),
        (None, []),
    ],
)
async def test_the_forms_of_an_answer(answer: Any, expected: list[bytes]) -> None:
    async def later(_: Datagram) -> Any:
        await trio.lowlevel.checkpoint()
        return answer

    for respond in (lambda _: answer, later):
        async with bench(respond) as it:
            await it.deliver(FakeReceived(b"x", flow()))
            assert it.replies() == expected
            assert it.count(outcomes.ANSWERED) == len(expected)
            assert it.count(outcomes.SILENT) == (not expected)


async def test_an_async_iterator_answers_as_it_goes(autojump_clock: MockClock) -> None:
    async def respond(request: Datagram) -> AsyncIterator[bytes]:
        for number in range(3):
            await trio.sleep(1)
            yield request.payload + str(number).encode()

    async with bench(respond) as it:
        it.socket.deliver(FakeReceived(b"x", flow()))
        await trio.sleep(1.5)
        assert it.replies() == [b"x0"]
        await trio.sleep(5)
        assert it.replies() == [b"x0", b"x1", b"x2"]


async def test_an_interface_that_is_gone_costs_the_answer_and_is_no_crash(caplog: pytest.LogCaptureFixture) -> None:
    async with bench(lambda _: Reply(b"x", interface=77)) as it:
        await it.deliver(FakeReceived(b"x", flow()))
        assert (it.replies(), it.count(outcomes.SOURCE_GONE), it.count(outcomes.CRASHED)) == ([], 1, 0)
    assert caplog.text == ""


async def test_a_send_error_that_a_handler_lets_pass_is_counted_as_what_it_is() -> None:
    def respond(_: Datagram) -> bytes:
        raise Unreachable(errno.ENETUNREACH, "no route")

    async with bench(respond) as it:
        await it.deliver(FakeReceived(b"x", flow()))
        assert (it.count(outcomes.UNREACHABLE), it.count(outcomes.CRASHED)) == (1, 0)


@pytest.mark.parametrize("answer", ["text", 7, [b"one", "text"], [Reply(b"x", service="none")]])
async def test_what_is_no_answer_loses_the_datagram_and_nothing_else(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(lambda request: answer if request.payload == b"bad" else b"good") as it:
        await it.deliver(FakeReceived(b"bad", flow()), FakeReceived(b"x", flow()))
        assert it.replies() == [b"good"]
        assert it.count(outcomes.CRASHED) == 1
    assert "respond failed" in caplog.text


@pytest.mark.parametrize(
    "make",
    [
        lambda: Reply("text"),  # type: ignore[arg-type] # what is tested
        lambda: Reply(b"x", hop_limit=0),
        lambda: Reply(b"x", source="239.255.70.7"),
        lambda: Reply(b"x", source="::"),
        lambda: Reply(b"x", hop_limit=256),
        lambda: Reply(b"x", hop_limit="3"),  # type: ignore[arg-type] # what is tested
        lambda: Reply(b"x", to=Peer("10.71.0.9", 70_000)),
        lambda: Reply(b"x", to=Peer("10.71.0.9", "53")),  # type: ignore[arg-type] # what is tested
        sys.exit,
    ],
)
@pytest.mark.parametrize("later", [False, True])
async def test_a_plugins_mistake_costs_one_datagram(make: Callable[[], Answer], later: bool) -> None:
    def respond(request: Datagram) -> Answer:
        return make() if request.payload == b"bad" else b"good"

    async def respond_later(request: Datagram) -> Any:
        await trio.lowlevel.checkpoint()
        return respond(request)

    async with bench(respond_later if later else respond) as it:
        await it.deliver(FakeReceived(b"bad", flow()))
        await it.deliver(FakeReceived(b"x", flow()))
        assert it.replies() == [b"good"]
        assert it.count(outcomes.CRASHED) == 1


async def test_a_handler_that_raises_is_logged_once_a_kind(caplog: pytest.LogCaptureFixture) -> None:
    def respond(request: Datagram) -> Answer:
        if request.payload == b"bad":
            raise RuntimeError("broken")
        return b"good"

    async with bench(respond) as it:
        await it.deliver(*[FakeReceived(b"bad", flow())] * 5, FakeReceived(b"x", flow()))
        assert it.replies() == [b"good"]
        assert it.count(outcomes.CRASHED) == 5
    assert caplog.text.count("respond failed") == 1


async def test_a_malformed_datagram_makes_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    def respond(_: Datagram) -> Answer:
        raise PeerError("short header")

    async with bench(respond) as it:
        await it.deliver(FakeReceived(b"x", flow()))
        assert it.count(outcomes.MALFORMED) == 1
    assert "respond" not in caplog.text


class TestSharing:
    async def test_instances_are_asked_in_order_until_one_does_not_pass(self) -> None:
        async def second(request: Datagram) -> Any:
            await trio.lowlevel.checkpoint()
            return PASS if request.payload == b"3" else b"second"

        first = Instance.of(Probe(lambda request: b"first" if request.payload == b"1" else PASS), "first")
        middle = Instance.of(Probe(second), "second")
        last = Instance.of(Probe(lambda request: b"third" if request.payload == b"3" else PASS), "third")
        async with bench(first, middle, last) as it:
            assert len(it.platform.sockets) == 1
            for payload in (b"1", b"2", b"3"):
                await it.deliver(FakeReceived(payload, flow()))
            assert it.replies() == [b"first", b"second", b"third"]

    async def test_when_all_pass_it_is_counted(self) -> None:
        async with bench(lambda _: PASS) as it:
            await it.deliver(FakeReceived(b"x", flow()))
            assert it.replies() == []
            assert it.count(outcomes.PASSED) == 1

    async def test_interfaces_and_allow_make_views(self) -> None:
        guests = Instance.of(Probe(lambda _: b"guest"), "guests", interfaces=["guest*"])
        boss = Instance.of(Probe(lambda _: b"boss"), "boss", allow=["10.71.0.7/32"])
        others = Instance.of(Probe(lambda _: b"other"), "others", deny=["10.71.0.66/32"])
        async with bench(guests, boss, others) as it:
            await it.deliver(
                FakeReceived(b"x", flow("10.72.0.9", "10.72.0.1", 3)),
                FakeReceived(b"x", flow("10.71.0.7")),
                FakeReceived(b"x", flow("10.71.0.8")),
                FakeReceived(b"x", flow("10.71.0.66")),
            )
            assert sorted(it.replies()) == [b"boss", b"guest", b"other"]
            assert it.server.counters.snapshot()[outcomes.NOBODY]["lan"] == {outcomes.INTERFACE: 1}


class TestRedirectedReplies:
    async def route(self, reply: Reply, asked: Flow | None = None) -> tuple[str, int, str | None, int, int | None]:
        async with bench(lambda _: reply) as it:
            await it.deliver(FakeReceived(b"x", asked or flow(), port=4711))
            (sent,) = it.socket.sent
            source = None if sent.route.source is None else str(sent.route.source)
            return str(sent.route.to), sent.port, source, sent.route.interface, sent.route.hop_limit

    async def test_to_a_group_from_the_arrival_interface(self) -> None:
        to = Peer("239.255.70.7", 7007)
        assert await self.route(Reply(b"x", to=to)) == ("239.255.70.7", 7007, "10.71.0.1", 2, None)

    async def test_to_a_group_of_another_interface(self) -> None:
        reply = Reply(b"x", to=Peer("ff02::7007", 7007), interface="guest0", hop_limit=1)
        assert await self.route(reply) == ("ff02::7007", 7007, "fe80::1", 3, 1)

    async def test_to_another_peer_keeps_the_asked_address(self) -> None:
        assert await self.route(Reply(b"x", to=Peer("10.71.0.77", 99))) == ("10.71.0.77", 99, "10.71.0.2", 0, None)

    async def test_with_a_hop_limit_only(self) -> None:
        assert await self.route(Reply(b"x", hop_limit=5)) == ("10.71.0.9", 4711, "10.71.0.2", 0, 5)

    async def test_from_another_address(self) -> None:
        assert await self.route(Reply(b"x", source="10.71.0.1")) == ("10.71.0.9", 4711, "10.71.0.1", 0, None)
        to = Peer("10.71.0.77", 99)
        assert await self.route(Reply(b"x", to=to, source="10.72.0.1")) == ("10.71.0.77", 99, "10.72.0.1", 0, None)
        asked = flow("fe80::9", "fe80::1", scope_id=2)
        assert await self.route(Reply(b"x", source="fd71::1"), asked) == ("fe80::9", 4711, "fd71::1", 2, None)

    async def test_a_socket_that_is_bound_to_the_source_sends(self) -> None:
        """Of the service that was asked, and of another one."""
        for service, number in ((None, 0), ("two", 2)):
            reply = Reply(b"x", source="10.71.0.1", service=service)
            instance = Instance.of(Twofold(lambda _, reply=reply: reply), listen=["10.71.0.2", "10.71.0.1"])
            async with bench(instance) as it:
                await it.deliver(FakeReceived(b"x", flow()))
                sent = [[str(each.route.source) for each in socket.sent] for socket in it.platform.sockets]
                bound = [str(socket.address) for socket in it.platform.sockets]
                assert bound == ["10.71.0.2", "10.71.0.1"] * 2
                assert sent == [["10.71.0.1"] if at == number + 1 else [] for at in range(4)]

    async def test_from_another_service(self) -> None:
        instance = Instance.of(Twofold(lambda _: Reply(b"x", service="two")))
        async with bench(instance) as it:
            await it.deliver(FakeReceived(b"x", flow()))
            one, two = it.platform.sockets
            assert (len(one.sent), len(two.sent), two.port) == (0, 1, 7008)
            assert str(two.sent[0].route.source) == "10.71.0.2"

    async def test_an_address_without_a_port_means_the_services_own(self) -> None:
        def respond(request: Datagram) -> Reply:
            return Reply(b"x", to=request.payload.decode(), service="two" if request.service == "one" else None)

        async with bench(Instance.of(Twofold(respond))) as it:
            await it.deliver(FakeReceived(b"239.1.2.3", flow()), FakeReceived(b"10.71.0.7", flow()))
            one, two = it.platform.sockets
            assert {(str(sent.route.to), sent.port) for sent in two.sent} == {("239.1.2.3", 7008), ("10.71.0.7", 7008)}
            two.deliver(FakeReceived(b"10.71.0.7", flow()))
            await wait_all_tasks_blocked()
            assert [(str(sent.route.to), sent.port) for sent in two.sent[2:]] == [("10.71.0.7", 7008)]
            assert one.sent == []

    async def test_an_interface_that_the_instance_may_not_use_is_none(self) -> None:
        async with bench(Instance.of(Probe(lambda _: Reply(b"x", interface="guest0")), interfaces=["lan"])) as it:
            await it.deliver(FakeReceived(b"x", flow()))
            assert (it.socket.sent, it.count(outcomes.SOURCE_GONE)) == ([], 1)

    @pytest.mark.parametrize(
        "reply",
        [Reply(b"x", to=Peer("10.71.0.9", 0)), Reply(b"x", to="0.0.0.0"), Reply(b"x", source="fd71::1")],
    )
    async def test_what_may_not_be_is_a_crash(self, reply: Reply) -> None:
        async with bench(Instance.of(Probe(lambda _: reply), interfaces=["lan"])) as it:
            await it.deliver(FakeReceived(b"x", flow()))
            assert it.socket.sent == []
            assert it.count(outcomes.CRASHED) == 1


async def test_a_datagram_from_an_unknown_interface_renews_the_table(autojump_clock: MockClock) -> None:
    new = attrs.evolve(GUEST, index=9, name="dock0")
    platform = FakePlatform(tables=[(LOOPBACK, LAN), (LOOPBACK, LAN, new)])
    async with bench(lambda request: request.interface.name.encode(), platform=platform) as it:
        it.socket.deliver(FakeReceived(b"x", flow(interface=9)))
        await trio.sleep(RESCAN_PAUSE)
        await it.deliver(FakeReceived(b"x", flow(interface=9)))
        # a new Flow object, as a socket would give; the one above is remembered until the table changes
        assert it.replies() == [b"#9", b"dock0"]


async def test_an_iterator_that_is_no_generator_is_closed_too() -> None:
    class Pieces:
        closed = False

        def __init__(self) -> None:
            self.left = 2

        def __aiter__(self) -> Pieces:
            return self

        async def __anext__(self) -> bytes:
            await trio.lowlevel.checkpoint()
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return b"piece"

        async def aclose(self) -> None:
            self.closed = True

    pieces = Pieces()
    async with bench(lambda _: pieces) as it:
        await it.deliver(FakeReceived(b"x", flow()))
        assert it.replies() == [b"piece", b"piece"]
        assert pieces.closed


async def test_a_generators_own_time_limit_ends_it_and_nothing_else(autojump_clock: MockClock) -> None:
    async def impatient(request: Datagram) -> AsyncIterator[bytes]:
        with trio.move_on_after(0.05):
            yield b"one"
            await trio.sleep_forever()
        yield b"last"

    async with bench(impatient) as it:
        it.socket.deliver(FakeReceived(b"x", flow()))
        await trio.sleep(1)
        assert it.replies() == [b"one", b"last"]

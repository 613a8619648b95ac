"""WSASendMsg and WSARecvMsg over a border that a fake holds: what crosses it, and what outlives it."""

from __future__ import annotations

import ctypes
import gc
import random
import weakref
from collections import deque
from ipaddress import ip_address

import pytest
import trio
import trio.testing

from responder.errors import MessageTooLong, NetworkError, SendError, SourceUnavailable
from responder.net.windows.winsock import ReceiveMemory, RouteMessage, SendMemory
from responder.net.windows.winsock_errors import error_code
from responder.net.windows.winsock_types import AF_INET, AF_INET6, MSG_CTRUNC, MSG_TRUNC, NATIVE

from . import overlapped, whole_winsock
from .fake_winsock import WSA_IO_PENDING, WSAEMSGSIZE, WSAEWOULDBLOCK, Arrived, FakeWinsock, sender
from .overlapped import Operations
from .whole_winsock import MSG_DONTROUTE, MSG_PEEK, Outgoing, receive_message, send_message, send_with_routine

HERE = ip_address("::1")
NAME = sender(HERE)
ADDRESS = HERE.packed + bytes(4)


# The memory of a socket and of a route, laid out once


@pytest.mark.parametrize("control", [b"", b"control!"])
def test_a_payload_goes_by_the_message_of_its_route(control: bytes) -> None:
    fake, memory = FakeWinsock(), SendMemory(100)
    message = RouteMessage(memory, NAME, control)
    for payload, port in ((b"first", 53), (b"", 53), (b"x" * 100, 65535)):
        assert memory.send(fake.send_message, message, payload, port) == 0
        sent = fake.sent[-1]
        assert (sent.payload, sent.name, sent.control) == (payload, sender(HERE, port), control)
        assert (sent.flags, sent.overlapped, sent.counted) == (0, 0, True)


def test_two_routes_share_the_memory_of_the_payload() -> None:
    fake, memory = FakeWinsock(), SendMemory()
    one = RouteMessage(memory, NAME, b"one way!")
    other = RouteMessage(memory, sender(ip_address("::2")), b"the other way!!!")
    for message in (one, other, one):
        assert memory.send(fake.send_message, message, b"x", 7) == 0
    assert [sent.control for sent in fake.sent] == [b"one way!", b"the other way!!!", b"one way!"]


def test_more_than_any_datagram_holds_is_not_tried() -> None:
    fake, memory = FakeWinsock(), SendMemory(100)
    message = RouteMessage(memory, NAME, b"")
    assert memory.send(fake.send_message, message, b"x" * 101, 53) == WSAEMSGSIZE
    assert not fake.sent


@pytest.mark.parametrize(
    ("family", "name", "address"),
    [
        (AF_INET6, sender(ip_address("fe80::1"), 0xABCD, 3), ip_address("fe80::1").packed + b"\3\0\0\0"),
        (AF_INET, sender(ip_address("10.71.0.1"), 0xABCD, family=AF_INET), ip_address("10.71.0.1").packed),
    ],
)
def test_a_datagram_is_received_whole(family: int, name: bytes, address: bytes) -> None:
    fake = FakeWinsock(arrivals=deque([Arrived(b"payload", name, b"control!", flags=0x400)]))
    taken = ReceiveMemory(family).take(fake.receive_message)
    assert taken == (b"payload", address, 0xABCD, b"control!", False)


def test_the_memory_is_ready_for_the_next_datagram() -> None:
    fake = FakeWinsock(arrivals=deque([Arrived(b"long one", NAME, b"control!"), Arrived(b"", b"")]))
    memory = ReceiveMemory(AF_INET6, 100, 64)
    assert memory.take(fake.receive_message) == (b"long one", ADDRESS, 4000, b"control!", False)
    taken = memory.take(fake.receive_message)
    assert isinstance(taken, tuple)
    payload, address, _, control, _ = taken
    assert (payload, address, control) == (b"", b"", b"")  # not the last one's name
    assert memory.take(fake.receive_message) == WSAEWOULDBLOCK


def test_lengths_that_lie_do_not_reach_beyond_the_memory() -> None:
    memory = ReceiveMemory(AF_INET6, 16, 32)

    def lie(message: int, received: int) -> int:
        wsamsg = NATIVE.WSAMSG.from_address(message)
        wsamsg.namelen, wsamsg.Control.len = -1, 0xFFFFFFF0
        ctypes.c_uint32.from_address(received).value = 0xFFFFFFF0
        return 0

    assert memory.take(lie) == (bytes(16), b"", 0, bytes(32), False)


@pytest.mark.parametrize(
    ("arrived", "size", "truncated"),
    [
        (Arrived(b"0123456789", NAME, flags=MSG_TRUNC, code=WSAEMSGSIZE), 4, True),
        # neither flag nor byte count, as Wine has it
        (Arrived(b"0123456789", NAME, code=WSAEMSGSIZE, write_count=False), 4, True),
        # only control messages are missing: the payload is whole
        (Arrived(b"0123", NAME, flags=MSG_CTRUNC, code=WSAEMSGSIZE), 100, False),
        (Arrived(b"0123", NAME, flags=MSG_CTRUNC), 100, False),
        (Arrived(b"0123456789", NAME, flags=MSG_TRUNC | MSG_CTRUNC, code=WSAEMSGSIZE), 4, True),
    ],
)
def test_truncation_is_seen(arrived: Arrived, size: int, truncated: bool) -> None:
    taken = ReceiveMemory(AF_INET6, size).take(FakeWinsock(arrivals=deque([arrived])).receive_message)
    assert isinstance(taken, tuple)
    payload, *_, told = taken
    assert (payload, told) == (b"0123", truncated)


# All that the pages offer


@pytest.mark.parametrize("buffers", [[], [b""], [b"one"], [b"one", b"", b"two" * 100], [b"x"] * 200])
def test_several_buffers_make_one_datagram(buffers: list[bytes]) -> None:
    fake = FakeWinsock()
    assert send_message(fake, buffers, NAME, b"control!", MSG_DONTROUTE) == len(b"".join(buffers))
    (sent,) = fake.sent
    assert (sent.payload, sent.buffers) == (b"".join(buffers), len(buffers))
    assert (sent.name, sent.control, sent.flags, sent.overlapped) == (NAME, b"control!", MSG_DONTROUTE, 0)


def test_nothing_is_a_null_pointer_with_length_0() -> None:
    """Row 4: otherwise WSAEFAULT, as the fake has it too."""
    fake = FakeWinsock()
    outgoing = Outgoing([b"x"])
    assert (outgoing.message.name, outgoing.message.namelen) == (0, 0)
    assert (outgoing.message.Control.buf, outgoing.message.Control.len) == (0, 0)
    assert send_message(fake, [b"x"]) == 1


def test_a_refusal_is_typed_and_names_the_size() -> None:
    with pytest.raises(MessageTooLong, match="3 bytes"):
        send_message(FakeWinsock(answers=deque([WSAEMSGSIZE])), [b"abc"])
    with pytest.raises(SendError, match="WSAEOPNOTSUPP"):
        send_message(FakeWinsock(answers=deque([10045])), [b"abc"], flags=0x10000)
    with pytest.raises(SourceUnavailable):
        send_message(FakeWinsock(answers=deque([10051])), [b"abc"], NAME, b"control!")


def test_flags_go_in_with_the_message() -> None:
    class Peeked(FakeWinsock):
        def receive_message_with(self, message: int, received: int, overlapped: int) -> int:
            assert NATIVE.WSAMSG.from_address(message).dwFlags == MSG_PEEK
            return super().receive_message_with(message, received, overlapped)

    fake = Peeked(arrivals=deque([Arrived(b"payload", NAME)]))
    assert receive_message(fake, flags=MSG_PEEK)[0] == b"payload"


def test_a_failed_receive() -> None:
    with pytest.raises(NetworkError, match="WSARecvMsg") as caught:
        receive_message(FakeWinsock(arrivals=deque([10038])))
    assert error_code(caught.value) == 10038


async def opened(code: int) -> tuple[FakeWinsock, Operations]:
    fake = FakeWinsock(answers=deque([code]))
    return fake, Operations(fake, lambda: None)


async def test_an_overlapped_send_that_is_done_at_once() -> None:
    fake, operations = await opened(0)
    with trio.testing.assert_checkpoints():
        assert await whole_winsock.send(fake, operations, [b"ab", b"c"], NAME, b"control!") == (0, 3)
    assert fake.sent[0].overlapped
    assert not fake.sent[0].counted  # row 11: NULL
    assert fake.registered == 1
    await whole_winsock.send(fake, operations, [b"again"])
    assert fake.registered == 1  # a second time would be error 87


async def test_an_overlapped_send_that_waits() -> None:
    fake, operations = await opened(WSA_IO_PENDING)
    results: list[tuple[int, int]] = []

    async def send() -> None:
        results.append(await whole_winsock.send(fake, operations, [b"abc"]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert operations.pending == 1
        fake.complete(fake.addresses[0], 0, 3)
    assert results == [(0, 3)]
    assert operations.pending == 0
    assert not overlapped.in_flight


async def test_a_later_failure_has_the_code_of_the_result() -> None:
    fake, operations = await opened(WSA_IO_PENDING)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            assert await whole_winsock.send(fake, operations, [b"abc"]) == (WSAEMSGSIZE, 0)

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        fake.complete(fake.addresses[0], WSAEMSGSIZE)


async def test_a_refused_start_is_not_waited_for() -> None:
    fake, operations = await opened(10045)
    with trio.testing.assert_checkpoints():
        assert await whole_winsock.send(fake, operations, [b"abc"]) == (10045, 0)
    assert not fake.addresses


async def test_a_cancelled_operation_keeps_its_memory_until_the_completion() -> None:
    fake, operations = await opened(WSA_IO_PENDING)

    class Memory:
        pass

    memory = Memory()
    alive = weakref.ref(memory)
    outgoing = Outgoing([b"abc"])

    async def perform(memory: Memory) -> None:
        await operations.perform(lambda address: fake.send_message_with(outgoing.address, 0, 0, address, 0), memory)

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(perform, memory)
            del memory
            await trio.testing.wait_all_tasks_blocked()
            gc.collect()
            assert alive() is not None
            scope.cancel()
    assert not overlapped.in_flight
    assert operations.pending == 0
    gc.collect()
    assert alive() is None


async def test_when_trio_dies_the_memory_stays() -> None:
    """A task that is destroyed in its wait has seen no completion: the system may still write."""

    class Destroyed(FakeWinsock):
        async def wait(self, overlapped: int) -> None:
            raise GeneratorExit

    fake = Destroyed()
    operations = Operations(fake, lambda: None)
    memory, outgoing = object(), Outgoing([b"abc"])
    before = set(overlapped.in_flight)
    with pytest.raises(GeneratorExit):
        await operations.perform(lambda address: fake.send_message_with(outgoing.address, 0, 0, address, 0), memory)
    kept = [overlapped.in_flight.pop(address) for address in set(overlapped.in_flight) - before]
    assert [entry[1] for entry in kept] == [memory]


async def test_cancelled_before_it_starts_it_is_not_started() -> None:
    fake, operations = await opened(0)
    with trio.CancelScope() as scope:
        scope.cancel()
        await whole_winsock.send(fake, operations, [b"abc"])
    assert scope.cancelled_caught
    assert not fake.sent


async def test_closing_waits_for_what_is_under_way() -> None:
    fake = FakeWinsock(answers=deque([WSA_IO_PENDING] * 3))
    closed: list[int] = []
    operations = Operations(fake, lambda: closed.append(operations.pending))
    failed = 0

    async def send() -> None:
        nonlocal failed
        with pytest.raises(trio.ClosedResourceError):
            await whole_winsock.send(fake, operations, [b"abc"])
        failed += 1

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        operations.close()
        assert not closed  # the handle must live until the completions: cancelling on a closed one ends trio's run
        operations.close()
    assert (closed, failed, fake.cancelled_all) == ([0], 3, 1)
    with pytest.raises(trio.ClosedResourceError):
        await whole_winsock.send(fake, operations, [b"abc"])


async def test_closing_an_idle_socket_is_immediate() -> None:
    closed: list[bool] = []
    operations = Operations(FakeWinsock(), lambda: closed.append(True))
    operations.close()
    operations.close()
    assert closed == [True]


async def test_an_address_is_not_used_again_before_a_later_operation_has_completed() -> None:
    """Else trio's own packet of a late cancellation would be taken for the new operation's."""
    fake = FakeWinsock()
    operations = Operations(fake, lambda: None)
    for _ in range(500):
        await whole_winsock.send(fake, operations, [b"abc"])
    for earlier, later in zip(fake.addresses, fake.addresses[1:], strict=False):
        assert earlier != later
    assert len(overlapped.quarantine().kept) <= 2


async def test_the_quarantine_is_bounded_by_what_was_under_way_together() -> None:
    rng = random.Random(7)  # noqa: S311 - a test's, and the same each time
    fake = FakeWinsock()
    operations = Operations(fake, lambda: None)
    most = 0

    async def send() -> None:
        fake.answers.append(WSA_IO_PENDING)
        with trio.CancelScope() as scope:
            if rng.random() < 0.5:
                scope.deadline = trio.current_time() + rng.random()
            await whole_winsock.send(fake, operations, [b"abc"])

    with trio.fail_after(60):
        for _ in range(50):
            async with trio.open_nursery() as nursery:
                count = rng.randrange(1, 20)
                for _ in range(count):
                    nursery.start_soon(send)
                await trio.testing.wait_all_tasks_blocked()
                most = max(most, operations.pending)
                for address in rng.sample(list(fake.pending), len(fake.pending)):
                    fake.complete(address, 0, 3)
            assert len(overlapped.quarantine().kept) <= 2 * most
    assert not overlapped.in_flight


async def test_an_overlapped_receive() -> None:
    fake = FakeWinsock(arrivals=deque([Arrived(b"payload", NAME, b"control!")]))
    operations = Operations(fake, lambda: None)
    with trio.testing.assert_checkpoints():
        taken = await whole_winsock.receive(fake, operations, ReceiveMemory(AF_INET6))
    assert taken == (b"payload", ADDRESS, 4000, b"control!", False)


def test_a_completion_routine_gets_code_and_bytes() -> None:
    fake = FakeWinsock()
    got: list[tuple[int, int]] = []
    send_with_routine(fake, Outgoing([b"ab", b"c"], NAME), lambda code, size: got.append((code, size)))
    assert got == [(0, 3)]
    assert fake.sent[0].overlapped
    assert not overlapped.in_flight


def test_a_refused_send_runs_no_routine() -> None:
    fake = FakeWinsock(answers=deque([10022]))
    with pytest.raises(SendError):
        send_with_routine(fake, Outgoing([b"x"]), lambda *_: pytest.fail("it ran"))
    assert not overlapped.in_flight


def test_the_memory_is_laid_out_for_this_machine() -> None:
    assert NATIVE.pointer == ctypes.sizeof(ctypes.c_void_p)

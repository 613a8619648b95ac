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

from responder.errors import MessageTooLong, SourceUnavailable
from responder.net.windows import winsock
from responder.net.windows.winsock import Incoming, Operations, Outgoing, receive_into, receive_message, send_message
from responder.net.windows.winsock_errors import FlagNotSupported, WinsockError
from responder.net.windows.winsock_types import MSG_CTRUNC, MSG_DONTROUTE, MSG_PEEK, MSG_TRUNC, NATIVE

from .fake_winsock import WSA_IO_PENDING, WSAEMSGSIZE, WSAEWOULDBLOCK, Arrived, FakeWinsock, sender

HERE = ip_address("::1")
NAME = sender(HERE)


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


def test_an_outgoing_message_is_used_again() -> None:
    fake = FakeWinsock()
    outgoing = Outgoing([b"first"], NAME, b"control!")
    outgoing.fill([b"second"], b"", b"")
    assert fake.send_message(outgoing.address, 0, outgoing.sent_address, 0, 0) == 0
    assert (fake.sent[0].payload, fake.sent[0].name, fake.sent[0].control) == (b"second", b"", b"")
    assert outgoing.sent == 6


def test_a_refusal_is_typed_and_names_the_size() -> None:
    with pytest.raises(MessageTooLong, match="3 bytes"):
        send_message(FakeWinsock(answers=deque([WSAEMSGSIZE])), [b"abc"])
    with pytest.raises(FlagNotSupported):
        send_message(FakeWinsock(answers=deque([10045])), [b"abc"], flags=0x10000)
    with pytest.raises(SourceUnavailable):
        send_message(FakeWinsock(answers=deque([10051])), [b"abc"], NAME, b"control!")


def test_a_datagram_is_received_whole() -> None:
    fake = FakeWinsock(arrivals=deque([Arrived(b"payload", NAME, b"control!", flags=0x400)]))
    message = receive_message(fake)
    assert (message.payload, message.name, message.control) == (b"payload", NAME, b"control!")
    assert (message.flags, message.truncated) == (0x400, False)


def test_the_memory_is_ready_for_the_next_datagram() -> None:
    fake = FakeWinsock(arrivals=deque([Arrived(b"long one", NAME, b"control!"), Arrived(b"", NAME[:16])]))
    incoming = Incoming(100, 64)
    assert receive_into(fake, incoming)[1]
    code, message = receive_into(fake, incoming)
    assert code == 0
    assert message is not None
    assert (message.payload, message.name, message.control) == (b"", NAME[:16], b"")
    assert receive_into(fake, incoming) == (WSAEWOULDBLOCK, None)


def test_flags_go_in_with_the_message() -> None:
    incoming = Incoming()
    incoming.prepare(MSG_PEEK)
    assert incoming.message.dwFlags == MSG_PEEK


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
    message = receive_message(FakeWinsock(arrivals=deque([arrived])), size)
    assert (message.payload, message.truncated) == (b"0123", truncated)


def test_a_failed_receive() -> None:
    with pytest.raises(WinsockError, match="WSARecvMsg") as caught:
        receive_message(FakeWinsock(arrivals=deque([10038])))
    assert caught.value.winerror == 10038


async def overlapped(code: int) -> tuple[FakeWinsock, Operations]:
    fake = FakeWinsock(answers=deque([code]))
    return fake, Operations(fake, lambda: None)


async def test_an_overlapped_send_that_is_done_at_once() -> None:
    fake, operations = await overlapped(0)
    with trio.testing.assert_checkpoints():
        assert await operations.send([b"ab", b"c"], NAME, b"control!") == (0, 3)
    assert fake.sent[0].overlapped
    assert not fake.sent[0].counted  # row 11: NULL
    assert fake.registered == 1
    await operations.send([b"again"])
    assert fake.registered == 1  # a second time would be error 87


async def test_an_overlapped_send_that_waits() -> None:
    fake, operations = await overlapped(WSA_IO_PENDING)
    results: list[tuple[int, int]] = []

    async def send() -> None:
        results.append(await operations.send([b"abc"]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert operations.pending == 1
        fake.complete(fake.addresses[0], 0, 3)
    assert results == [(0, 3)]
    assert operations.pending == 0
    assert not winsock._in_flight


async def test_a_later_failure_has_the_code_of_the_result() -> None:
    fake, operations = await overlapped(WSA_IO_PENDING)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            assert await operations.send([b"abc"]) == (WSAEMSGSIZE, 0)

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        fake.complete(fake.addresses[0], WSAEMSGSIZE)


async def test_a_refused_start_is_not_waited_for() -> None:
    fake, operations = await overlapped(10045)
    with trio.testing.assert_checkpoints():
        assert await operations.send([b"abc"]) == (10045, 0)
    assert not fake.addresses


async def test_a_cancelled_operation_keeps_its_memory_until_the_completion() -> None:
    fake, operations = await overlapped(WSA_IO_PENDING)

    class Memory:
        pass

    memory = Memory()
    alive = weakref.ref(memory)

    async def perform(memory: Memory) -> None:
        await operations.perform(lambda address: fake.ioctl(7, b"", address), memory)

    fake.ioctl_answers[7] = WSA_IO_PENDING
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(perform, memory)
            del memory
            await trio.testing.wait_all_tasks_blocked()
            gc.collect()
            assert alive() is not None
            scope.cancel()
    assert not winsock._in_flight
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
    memory = object()
    before = set(winsock._in_flight)
    with pytest.raises(GeneratorExit):
        await operations.perform(lambda address: fake.ioctl(7, b"", address), memory)
    kept = winsock._in_flight - before
    assert [operation.memory for operation in kept] == [memory]
    winsock._in_flight.difference_update(kept)


async def test_cancelled_before_it_starts_it_is_not_started() -> None:
    fake, operations = await overlapped(0)
    with trio.CancelScope() as scope:
        scope.cancel()
        await operations.send([b"abc"])
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
            await operations.send([b"abc"])
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
        await operations.send([b"abc"])


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
        await operations.send([b"abc"])
    for earlier, later in zip(fake.addresses, fake.addresses[1:], strict=False):
        assert earlier != later
    assert len(winsock._quarantine()) <= 2


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
            await operations.send([b"abc"])

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
            assert len(winsock._quarantine()) <= 2 * most
    assert not winsock._in_flight


async def test_an_overlapped_receive() -> None:
    fake = FakeWinsock(arrivals=deque([Arrived(b"payload", NAME, b"control!")]))
    operations = Operations(fake, lambda: None)
    with trio.testing.assert_checkpoints():
        code, message = await operations.receive(Incoming())
    assert code == 0
    assert message is not None
    assert (message.payload, message.name, message.control) == (b"payload", NAME, b"control!")


def test_a_completion_routine_gets_code_and_bytes() -> None:
    fake = FakeWinsock()
    got: list[tuple[int, int]] = []
    winsock.send_with_routine(fake, Outgoing([b"ab", b"c"], NAME), lambda code, size: got.append((code, size)))
    assert got == [(0, 3)]
    assert fake.sent[0].overlapped
    assert not winsock._in_flight


def test_a_refused_send_runs_no_routine() -> None:
    fake = FakeWinsock(answers=deque([10022]))
    with pytest.raises(WinsockError):
        winsock.send_with_routine(fake, Outgoing([b"x"]), lambda *_: pytest.fail("it ran"))
    assert not winsock._in_flight


def test_the_memory_is_laid_out_for_this_machine() -> None:
    assert NATIVE.pointer == ctypes.sizeof(ctypes.c_void_p)

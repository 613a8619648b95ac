"""STUN by TCP: messages one behind the other, and what ends a connection."""

from __future__ import annotations

import pytest
import trio
from responder_plugins.stun import Stun
from responder_plugins.stun.stream import IDLE, MAX_REQUEST, serve
from trio.testing import MockClock

from responder.testing import bench

from .support import CLASSIC, COOKIE, SAMPLE_REQUEST, Told, attribute, message, told

PLAIN = Stun(behavior_discovery=False)


def numbered(number: int) -> bytes:
    return message(transaction=COOKIE + number.to_bytes(12))


async def hear(stream: trio.abc.ReceiveStream, count: int) -> list[Told]:
    """The next messages."""
    data = b""
    answers: list[Told] = []
    while len(answers) < count:
        data += await stream.receive_some()
        while len(data) >= 20 and len(data) >= (size := 20 + int.from_bytes(data[2:4])):
            answers.append(told(data[:size]))
            data = data[size:]
    assert data == b""
    return answers


async def test_several_requests_on_a_connection(autojump_clock: MockClock) -> None:
    async with bench(PLAIN) as at, await at.connect("192.0.2.2") as stream:
        for number in range(3):
            await stream.send_all(numbered(number))
            (answer,) = await hear(stream, 1)
            assert answer.transaction == COOKIE + number.to_bytes(12)
            assert answer.address(0x0020).startswith("192.0.2.9:")
        await stream.send_all(b"".join(map(numbered, range(500))))
        answers = await hear(stream, 500)
        assert [int.from_bytes(each.transaction[4:]) for each in answers] == list(range(500))


async def test_a_request_in_pieces(autojump_clock: MockClock) -> None:
    async with bench(PLAIN) as at, await at.connect() as stream:
        payload = SAMPLE_REQUEST + message(0x0011) + message()
        for at_byte in range(len(payload)):
            await stream.send_all(payload[at_byte : at_byte + 1])
        answers = await hear(stream, 2)
        assert [each.type for each in answers] == [0x0111, 0x0101]


@pytest.mark.parametrize(
    "broken",
    [
        b"GET / HTTP/1.1\r\n\r\n\r\n",
        message(transaction=CLASSIC),
        message(0x0101),
        message(0x0003),
        message(attributes=attribute(0x8028, b"abcd")),
        message(attributes=bytes(MAX_REQUEST)),
    ],
)
async def test_what_is_no_request_ends_it(autojump_clock: MockClock, broken: bytes) -> None:
    """What came before it is answered."""
    async with bench(PLAIN) as at, await at.connect() as stream:
        await stream.send_all(numbered(1) + broken)
        (answer,) = await hear(stream, 1)
        assert answer.transaction == COOKIE + (1).to_bytes(12)
        assert await stream.receive_some() == b""


async def test_a_longest_request(autojump_clock: MockClock) -> None:
    async with bench(PLAIN) as at, await at.connect() as stream:
        await stream.send_all(message(attributes=attribute(0x8022, bytes(MAX_REQUEST - 24))))
        assert [each.type for each in await hear(stream, 1)] == [0x0101]


async def test_who_idles_is_let_go(autojump_clock: MockClock) -> None:
    async with bench(PLAIN) as at, await at.connect() as stream:
        await trio.sleep(IDLE - 1)
        await stream.send_all(message())
        await hear(stream, 1)
        began = trio.current_time()
        await stream.send_all(message()[:10])
        assert await stream.receive_some() == b""
        assert trio.current_time() - began == IDLE


class Unread(trio.abc.Stream):
    """A connection whose peer asks and takes no answers."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return message()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_who_takes_no_answers_is_let_go(autojump_clock: MockClock) -> None:
    await serve(Unread(), lambda data: data)
    assert trio.current_time() == IDLE

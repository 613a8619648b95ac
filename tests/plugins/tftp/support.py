"""What the tests of tftp share: packets written by hand, and a client that reads a file."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
from responder_plugins.tftp import Tftp
from responder_plugins.tftp.handler import TftpHandler

from responder import Context, Handler
from responder.testing import Bench, FakeConversation, Heard, bench

DATA, ACK, ERROR, OACK = 3, 4, 5, 6


def content(size: int) -> bytes:
    """Bytes no two blocks of which are alike."""
    return b"".join(number.to_bytes(4) for number in range(size // 4 + 1))[:size]


def request(name: str | bytes = "file", mode: str = "octet", *, opcode: int = 1, **options: int | str) -> bytes:
    name = name.encode() if isinstance(name, str) else name
    tail = b"".join(f"{key}\0{value}\0".encode() for key, value in options.items())
    return struct.pack("!H", opcode) + name + b"\0" + mode.encode() + b"\0" + tail


def ack(number: int) -> bytes:
    return struct.pack("!HH", ACK, number & 0xFFFF)


def opcode_of(payload: bytes) -> int:
    return int.from_bytes(payload[:2])


def options_of(payload: bytes) -> dict[str, str]:
    """An option acknowledgment's."""
    assert opcode_of(payload) == OACK
    parts = payload[2:-1].decode().split("\0")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def code_of(payload: bytes) -> int:
    assert opcode_of(payload) == ERROR
    assert payload.endswith(b"\0")
    return int.from_bytes(payload[2:4])


def handler_of(root: Path, **options: int) -> TftpHandler:
    handler = Tftp(root, **options).prepare(Context("tftp"))
    assert isinstance(handler, TftpHandler)
    return handler


@attrs.frozen
class Serving:
    at: Bench
    handler: TftpHandler

    @property
    def counts(self) -> Mapping[str, int]:
        return dict(self.handler.counts())

    async def fetch(
        self, payload: bytes, to: str | None = None, *, lost: Collection[int] = ()
    ) -> tuple[bytes, dict[str, str]]:
        """A file as a client gets it, and the options agreed on; of the blocks that come, those of `lost` are lost."""
        conversation = await self.at.begin(payload, to)
        options: dict[str, str] = {}
        first: Heard | None = conversation.first
        if opcode_of(conversation.first.payload) == OACK:
            options, first = options_of(conversation.first.payload), None
            await conversation.send(ack(0))
        block_size, window_size = int(options.get("blksize", 512)), int(options.get("windowsize", 1))
        data = await read(conversation, first, block_size, window_size, lost)
        return data, options


@asynccontextmanager
async def serving(root: Path, *, rate: float | None = None, **options: int) -> AsyncIterator[Serving]:
    handler = handler_of(root, **options)

    @attrs.frozen
    class Prepared(Tftp):
        def prepare(self, context: Context) -> Handler:
            return handler

    keys = {} if rate is None else {"rate": rate}
    async with bench(Prepared(root), name="tftp", **keys) as at:
        yield Serving(at, handler)


async def read(
    conversation: FakeConversation, heard: Heard | None, block_size: int, window_size: int, lost: Collection[int]
) -> bytes:
    """All blocks, as a client takes them by RFC 1350 and RFC 7440; `heard` is the first one, if it came already."""
    data, number, came, in_window = [], 0, 0, 0
    while True:
        payload = (heard or await conversation.receive(30)).payload
        heard = None
        assert opcode_of(payload) == DATA, payload
        came += 1
        if came - 1 in lost:
            continue
        if int.from_bytes(payload[2:4]) != (number + 1) & 0xFFFF:
            if window_size > 1:
                await conversation.send(ack(number))
                in_window = 0
            continue
        number += 1
        in_window += 1
        data.append(payload[4:])
        is_last = len(payload) - 4 < block_size
        if is_last or in_window == window_size:
            await conversation.send(ack(number))
            in_window = 0
        if is_last:
            return b"".join(data)

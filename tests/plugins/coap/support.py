"""What the tests of coap share: messages written and read by hand, and a served handler."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
from responder_plugins.coap import Coap
from responder_plugins.coap.handler import CoapHandler
from responder_plugins.coap.resources import Resource

from responder import Context, Handler
from responder.testing import Bench, Heard, bench, options

CON, NON, ACK, RST = range(4)
GET, POST, PUT, DELETE = range(1, 5)
CONTENT, VALID = 0x45, 0x43
BAD_REQUEST, BAD_OPTION, FORBIDDEN, NOT_FOUND, NOT_ALLOWED, NOT_ACCEPTABLE = 0x80, 0x82, 0x83, 0x84, 0x85, 0x86
FAILED, UNAVAILABLE, NO_PROXY = 0xA0, 0xA3, 0xA5

ETAG, OBSERVE, URI_PATH, FORMAT, MAX_AGE, URI_QUERY, ACCEPT, BLOCK2, SIZE2, ECHO = 4, 6, 11, 12, 14, 15, 17, 23, 28, 252

Options = Sequence[tuple[int, bytes]]


def message(
    kind: int, code: int, message_id: int, token: bytes = b"", options: Options = (), payload: bytes = b""
) -> bytes:
    """RFC 7252 section 3; the options are sorted here."""
    head = bytes([0x40 | kind << 4 | len(token), code]) + message_id.to_bytes(2) + token
    last, parts = 0, []
    for number, value in sorted(options, key=lambda option: option[0]):
        (delta, more), (size, rest) = extended(number - last), extended(len(value))
        parts.append(bytes([delta << 4 | size]) + more + rest + value)
        last = number
    return head + b"".join(parts) + (b"\xff" + payload if payload else b"")


def extended(value: int) -> tuple[int, bytes]:
    if value >= 269:
        return 14, (value - 269).to_bytes(2)
    return (13, bytes([value - 13])) if value >= 13 else (value, b"")


def of_path(path: str) -> list[tuple[int, bytes]]:
    """A path with queries as options."""
    plain, _, query = path.partition("?")
    found = [(URI_PATH, part.encode()) for part in plain.strip("/").split("/") if part]
    return found + [(URI_QUERY, part.encode()) for part in query.split("&") if part]


def get(
    path: str, message_id: int = 1, *options: tuple[int, bytes], kind: int = CON, token: bytes = b"tok", code: int = GET
) -> bytes:
    return message(kind, code, message_id, token, [*of_path(path), *options])


def empty(kind: int, message_id: int) -> bytes:
    return message(kind, 0, message_id)


def block2(number: int, size: int, more: bool = False) -> tuple[int, bytes]:
    value = number << 4 | more << 3 | size.bit_length() - 5
    return BLOCK2, value.to_bytes((value.bit_length() + 7) // 8)


@attrs.frozen
class Read:
    kind: int
    code: int
    message_id: int
    token: bytes
    options: list[tuple[int, bytes]]
    payload: bytes

    def option(self, number: int) -> bytes | None:
        """Its value; None: it isn't there.  It must not be there twice."""
        found = [value for each, value in self.options if each == number]
        assert len(found) < 2
        return found[0] if found else None

    def number(self, number: int) -> int | None:
        value = self.option(number)
        assert value is None or value[:1] != b"\0", "no leading zeros (section 3.2)"
        return None if value is None else int.from_bytes(value)

    @property
    def block(self) -> tuple[int, bool, int] | None:
        """Number, more, size."""
        value = self.number(BLOCK2)
        return None if value is None else (value >> 4, bool(value & 8), 16 << (value & 7))


def read(data: bytes) -> Read:
    assert data[0] >> 6 == 1
    size = data[0] & 15
    at, number, found = 4 + size, 0, []
    while at < len(data) and data[at] != 0xFF:
        values, at = [data[at] >> 4, data[at] & 15], at + 1
        for which, value in enumerate(values):
            assert value < 15
            if value == 13:
                values[which], at = data[at] + 13, at + 1
            elif value == 14:
                values[which], at = int.from_bytes(data[at : at + 2]) + 269, at + 2
        number += values[0]
        assert at + values[1] <= len(data)
        found.append((number, data[at : at + values[1]]))
        at += values[1]
    payload = data[at + 1 :]
    assert payload or at == len(data), "no payload behind a marker"
    return Read(data[0] >> 4 & 3, data[1], int.from_bytes(data[2:4]), data[4 : 4 + size], found, payload)


def handler_of(
    resources: Mapping[str, Any], *, folder: Path = Path(), more: Mapping[str, Resource] | None = None, **own: Any
) -> CoapHandler:
    """The handler of a config; `more` are resources of third parties."""

    @attrs.frozen
    class More(Coap):
        def more_resources(self, context: Context) -> Mapping[str, Resource]:
            return more or {}

    plugin = options(More, resources=resources, folder=folder, **own)
    handler = plugin.prepare(Context("coap", folder))
    assert isinstance(handler, CoapHandler)
    return handler


@attrs.frozen
class Serving:
    at: Bench
    handler: CoapHandler
    _ids: Iterator[int] = attrs.field(factory=lambda: itertools.count(1000), init=False)

    @property
    def counts(self) -> Mapping[str, int]:
        return dict(self.handler.counts())

    async def ask(self, request: bytes, to: str | None = None) -> Read:
        """The answer, which is to come without any time passing."""
        (heard,) = await self.at.exchange(request, to)
        assert heard.source.port == 5683
        return read(heard.payload)

    async def heard(self, within: float = 0.0) -> list[Read]:
        return [read(each.payload) for each in await self.at.collect(within)]

    async def send(self, payload: bytes, to: str | None = None) -> list[Heard]:
        """What comes for it without any time passing."""
        return await self.at.exchange(payload, to)

    async def fetch(self, path: str, size: int | None = None) -> bytes:
        """A whole representation, block by block, as clients do (RFC 7959 section 2.4)."""
        data, number, wanted = b"", 0, size
        while True:
            asked = [] if wanted is None else [block2(number, wanted)]
            answer = await self.ask(get(path, next(self._ids), *asked))
            assert answer.code == CONTENT, answer
            data += answer.payload
            if answer.block is None:
                assert number == 0
                return data
            at, more, wanted = answer.block
            assert at == number
            if not more:
                return data
            assert len(answer.payload) == wanted
            number += 1


@asynccontextmanager
async def serving(
    resources: Mapping[str, Any],
    *,
    folder: Path = Path(),
    more: Mapping[str, Resource] | None = None,
    keys: Mapping[str, Any] | None = None,
    **own: Any,
) -> AsyncIterator[Serving]:
    """`own` are options of coap, `keys` those of an instance."""
    handler = handler_of(resources, folder=folder, more=more, **own)

    @attrs.frozen
    class Prepared(Coap):
        def prepare(self, context: Context) -> Handler:
            return handler

    async with bench(Prepared(), name="coap", **(keys or {})) as at:
        yield Serving(at, handler)

"""Datagrams that mean harm, for Hypothesis: samples of a protocol, damaged in the ways that break parsers.

    @given(hostile(b"GET /x", b"PUT /y"))
    def test_hostile(payload): ...

Hypothesis is needed only here, and only when `hostile` is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

BAD_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xC0, 0xFF)
"""Values at the edges: of signed and unsigned lengths, of UTF-8, and of DNS' compression pointers."""

MAX_DAMAGES = 4

Damage = Callable[["DrawFn", bytearray], None]


def hostile(*samples: bytes, max_size: int = 1500) -> SearchStrategy[bytes]:
    """A strategy of payloads up to `max_size` bytes: noise, and samples cut, extended, spliced and overwritten.

    Samples should be valid requests of every kind that the protocol has: what is near to valid gets far into a parser.
    """
    from hypothesis import strategies as st  # noqa: PLC0415 - optional: see above

    noise = st.binary(max_size=max_size)
    if not samples:
        return noise

    @st.composite
    def damaged(draw: DrawFn) -> bytes:
        payload = bytearray(draw(st.sampled_from(samples)))
        for _ in range(draw(st.integers(0, MAX_DAMAGES))):
            draw(st.sampled_from(damages))(draw, payload)
        return bytes(payload[:max_size])

    def place(draw: DrawFn, payload: bytearray) -> int:
        return draw(st.integers(0, len(payload)))

    def cut(draw: DrawFn, payload: bytearray) -> None:
        del payload[place(draw, payload) :]

    def drop(draw: DrawFn, payload: bytearray) -> None:
        start = place(draw, payload)
        del payload[start : start + draw(st.integers(1, 8))]

    def insert(draw: DrawFn, payload: bytearray) -> None:
        start = place(draw, payload)
        payload[start:start] = draw(st.binary(min_size=1, max_size=32))

    def overwrite(draw: DrawFn, payload: bytearray) -> None:
        start = place(draw, payload)
        bad = bytes([draw(st.sampled_from(BAD_BYTES))]) * draw(st.sampled_from((1, 2, 4)))
        payload[start : start + len(bad)] = bad

    def flip(draw: DrawFn, payload: bytearray) -> None:
        if payload:
            payload[draw(st.integers(0, len(payload) - 1))] ^= 1 << draw(st.integers(0, 7))

    def repeat(draw: DrawFn, payload: bytearray) -> None:
        start, end = sorted((place(draw, payload), place(draw, payload)))
        payload[end:end] = payload[start:end] * draw(st.integers(1, 16))
        del payload[max_size:]

    def splice(draw: DrawFn, payload: bytearray) -> None:
        other = draw(st.sampled_from(samples))
        payload[place(draw, payload) :] = other[draw(st.integers(0, len(other))) :]

    damages: tuple[Damage, ...] = (cut, drop, insert, overwrite, flip, repeat, splice)
    return st.one_of(damaged(), noise)

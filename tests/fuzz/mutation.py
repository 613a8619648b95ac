"""Mutated inputs: the same ones for the same seed number."""

from __future__ import annotations

import heapq
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

INTERESTING = (
    b"\0",
    b"\xff",
    b"\x80",
    b"\xc0\x0c",
    b"\xc0\x00",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\r\n",
    b"<",
    b">",
    b"&",
    b'"',
)
MAX_LENGTH = 4096


def words_of(target: Any) -> Sequence[bytes]:
    """The words of its language, where it has one."""
    return getattr(target, "WORDS", ())


def mutated(rng: random.Random, target: Any) -> bytes:
    """A seed with one to eight changes: bytes flipped, set, cut out, doubled, put in, or of another seed."""
    seeds = target.SEEDS
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randrange(1, 9)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.randrange(1, 17))
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end] * rng.randrange(1, 5)
        elif kind == 4:
            data[at:at] = rng.choice(rng.choice((INTERESTING, words_of(target) or INTERESTING)))
        elif kind == 5:
            other = rng.choice(seeds)
            begin = rng.randrange(len(other) + 1)
            data[at:end] = other[begin : begin + rng.randrange(1, 65)]
        else:
            del data[at:]
    return bytes(data[:MAX_LENGTH])


def mutating(target: Any, count: int, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - to be repeated
    slowest: list[tuple[float, bytes]] = []
    answers = 0
    began = time.perf_counter()
    for _ in range(count):
        packet = mutated(rng, target)
        start = time.thread_time()
        try:
            answers += target.answered(packet) is not None
        except BaseException:
            print(f"after this one:\n{packet.hex()}", file=sys.stderr)
            raise
        heapq.heappush(slowest, (time.thread_time() - start, packet))
        if len(slowest) > 1:
            heapq.heappop(slowest)
    elapsed = time.perf_counter() - began
    ((took, packet),) = slowest
    print(f"{count:,} packets in {elapsed:.0f} s, {answers:,} were answered; the slowest took {took * 1e3:.2f} ms:")
    print(packet.hex())

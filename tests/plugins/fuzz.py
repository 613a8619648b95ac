"""Hostile datagrams for as long as wanted: no exception but PeerError, no answer that the protocol forbids.

    python -m tests.plugins.fuzz NAME [COUNT] [SEED]                mutated messages, always the same ones for a seed
    python -m tests.plugins.fuzz NAME --guided [-runs=COUNT]        led by coverage, where atheris is installed

NAME is a plugin whose tests have a module `fuzz_target` with `SEEDS`, messages as real peers send them, and `answered`,
which gives a message to the plugin and judges what comes back.  A million take some two minutes.
"""

from __future__ import annotations

import heapq
import importlib
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
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


def mutated(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A seed with one to eight changes: bytes flipped, set, cut out, doubled, put in, or of another seed."""
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
            data[at:at] = rng.choice(INTERESTING)
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
        packet = mutated(rng, target.SEEDS)
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


def guided(name: str, options: list[str]) -> None:
    """libFuzzer's loop, which ends the process; `options` are its own."""
    import atheris  # noqa: PLC0415 - optional, and not on every platform

    with atheris.instrument_imports(include=[f"responder_plugins.{name}", "responder_plugins.shared"]):
        target = importlib.import_module(f"tests.plugins.{name}.fuzz_target")
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.SEEDS):
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], folder, f"-max_len={MAX_LENGTH}", *options], target.answered)
        atheris.Fuzz()


def main() -> None:
    name, *rest = sys.argv[1:]
    if rest[:1] == ["--guided"]:
        guided(name, rest[1:])
        return
    target = importlib.import_module(f"tests.plugins.{name}.fuzz_target")
    mutating(target, int(rest[0]) if rest else 1_000_000, int(rest[1]) if len(rest) > 1 else 0)


if __name__ == "__main__":
    main()

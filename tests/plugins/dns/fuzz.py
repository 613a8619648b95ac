"""Hostile queries for as long as wanted: no exception, no answer over its bound; the slowest packet is told.

    python -m tests.plugins.dns.fuzz [COUNT] [SEED]   mutated queries, always the same ones for a seed

`test_wire` runs a bounded part.  Ten million take some ten minutes.  `python -m tests.fuzz dns` is led by coverage.
"""

from __future__ import annotations

import gc
import heapq
import random
import sys
import time
from typing import Final

from tests.plugins.dns.message.test_wire import HANDLER, PLAIN, SEEDS, answered, mutated

DECODED: Final = 101
"""Of so many answers one is decoded and compared with the processor's: that takes ten times as long as the rest."""


def mutating(count: int, seed: int) -> None:
    handlers = HANDLER, PLAIN

    rng = random.Random(seed)  # noqa: S311 - to be repeated
    slowest: list[tuple[float, bytes]] = []
    silent = 0
    gc.collect()
    gc.freeze()  # what pytest and hypothesis have made is not to be looked through in the time of a packet
    began = time.perf_counter()
    for number in range(count):
        packet = mutated(rng, rng.choice(SEEDS), rng.choice(SEEDS))
        start = time.thread_time()  # CPU time: what the machine does meanwhile is not the packet's fault
        silent += answered(packet, handler=handlers[number % 2], decoded=number % DECODED == 0) is None
        heapq.heappush(slowest, (time.thread_time() - start, packet))
        if len(slowest) > 20:
            heapq.heappop(slowest)
    elapsed = time.perf_counter() - began
    print(
        f"{count:,} packets in {elapsed:.0f} s, {silent:,} got silence; the slowest took {max(slowest)[0] * 1e3:.2f} ms"
    )
    again = []
    for _, packet in slowest:  # a virtual machine's CPU time has what others took of it: the packet's own is the least
        took = []
        for _ in range(5):
            for handler in handlers:
                handler.swap(handler.processor.catalog)
                start = time.thread_time()
                answered(packet, handler=handler, decoded=False)
                took.append(time.thread_time() - start)
        again.append((min(took), packet))
    most, culprit = max(again)
    print(f"of the 20 slowest, asked again, the slowest took {most * 1e3:.2f} ms:\n{culprit.hex()}")


def main() -> None:
    arguments = sys.argv[1:]
    mutating(int(arguments[0]) if arguments else 1_000_000, int(arguments[1]) if len(arguments) > 1 else 0)


if __name__ == "__main__":
    main()

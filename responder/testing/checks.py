"""Assertions that a responder needs, on a `Bench`: silence, amplification, time, and memory under forged sources.

    async with bench(MyPlugin()) as at:
        await never_answers(at, b"", b"x" * 1500, within=60)
        await amplifies_at_most(at, 2.0, *samples)

Those with seconds in them want a fake clock (pytest-trio's `autojump_clock`), which passes them at once.  They look
from outside, at what a client hears; only `keeps_no_state` looks into the process.
"""

# ruff: noqa: S101 - assertions are what this file is for

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address
from itertools import pairwise

import attrs
import trio

from ..dispatch.port import MAX_FLOWS
from .bench import Bench, settled
from .clients import Heard

FALSE_ALARM = 1e-9
"""The chance that `delays_uniformly` accuses a responder that is right."""

LATE = 10.0
"""Seconds that a late answer is waited for, to say how late it is."""

BLOCKS_A_SOURCE = 0.2
"""Blocks of memory that a forged source may leave on average: any record of one takes at least a block."""

ROUNDS = 3
"""Measurements of memory, of which the least counts."""

WARM_UP = MAX_FLOWS + 1_000
"""Forged sources before memory is measured: more than the framework's bounded tables hold."""

FIRST_SOURCE = IPv4Address("100.64.0.1")
"""Shared address space (RFC 6598): sources that are nobody's."""


async def never_answers(at: Bench, *requests: bytes, to: str | None = None, within: float = 10.0) -> None:
    """No request gets an answer, nor makes the plugin send anything to the client, for `within` seconds after the last.

    Raises AssertionError that shows the first answer.
    """
    for request in requests:
        heard = await at.exchange(request, to)
        assert not heard, f"answered {request!r} with {heard[0].payload!r}"
    sent = trio.current_time()
    late = await at.collect(within)
    assert not late, f"answered {late[0].payload!r}, {late[0].time - sent:.3f} s after the last request"


async def amplifies_at_most(
    at: Bench, factor: float, *requests: bytes, to: str | None = None, within: float = 10.0
) -> float:
    """Each request's answers are together at most `factor` times its bytes; gives the largest factor seen.

    Payloads are counted, as attackers do; an empty request counts as one byte.  Raises AssertionError.
    """
    worst = 0.0
    for request in requests:
        heard = await at.exchange(request, to, within=within)
        seen = sum(len(each.payload) for each in heard) / max(1, len(request))
        assert seen <= factor, f"amplifies {seen:.2f} times, not {factor}: {len(heard)} answers to {request[:60]!r}"
        worst = max(worst, seen)
    return worst


async def answers_within(
    at: Bench, least: float, most: float, request: bytes, *, to: str | None = None, times: int = 1
) -> list[float]:
    """Each of `times` answers comes between `least` and `most` seconds after its request; gives the delays.

    Raises AssertionError, also where nothing comes or something comes later.
    """
    delays: list[float] = []
    for _ in range(times):
        start = trio.current_time()
        heard = await at.exchange(request, to, within=most + LATE)
        assert heard, f"no answer to {request[:60]!r} within {most + LATE} s"
        for each in heard:
            delay = each.time - start
            assert least <= delay <= most or math.isclose(delay, most), f"answered after {delay} s: not {least}..{most}"
        delays.append(heard[0].time - start)
    return delays


async def delays_uniformly(
    at: Bench, least: float, most: float, request: bytes, *, to: str | None = None, times: int = 200
) -> None:
    """The delays of answers are spread evenly over `least`..`most` seconds, as protocols against storms want them.

    By the test of Kolmogorov and Smirnov over `times` answers.  Raises AssertionError.
    """
    delays = sorted(await answers_within(at, least, most, request, to=to, times=times))
    share = [(delay - least) / (most - least) for delay in delays]
    distance = max(max((rank + 1) / times - each, each - rank / times) for rank, each in enumerate(share))
    allowed = math.sqrt(-math.log(FALSE_ALARM / 2) / (2 * times))
    assert distance <= allowed, (
        f"not spread over {least}..{most} s: {times} delays from {delays[0]:.3f} to {delays[-1]:.3f} s, "
        f"median {delays[times // 2]:.3f} s (distance {distance:.2f}, allowed {allowed:.2f})"
    )


async def keeps_no_state(at: Bench, *requests: bytes, sources: int = 1_000, to: str | None = None) -> None:
    """Requests from `sources` forged addresses, after as many as fill every bounded table, leave no object behind.

    The answers go nowhere.  Objects are counted as CPython's blocks of memory (`sys.getallocatedblocks`), in several
    rounds, of which the least counts: what happens once, such as a log's first line, is no state.  Raises
    AssertionError with how many were kept.
    """
    flood = _Flood(at, requests, to)
    blocks = [await flood.send(WARM_UP)] + [await flood.send(sources) for _ in range(ROUNDS)]
    kept = min(after - before for before, after in pairwise(blocks))
    assert kept <= BLOCKS_A_SOURCE * sources, f"keeps {kept} objects for {sources} forged sources"


@attrs.define
class _Flood:
    """Requests, each from an address of its own."""

    at: Bench
    requests: Sequence[bytes]
    to: str | None
    sent: int = 0

    async def send(self, count: int) -> int:
        """Send so many more; the blocks of memory that are in use then."""
        for _ in range(count):
            request = self.requests[self.sent % len(self.requests)]
            self.at.spoof(request, str(FIRST_SOURCE + self.sent), to=self.to)
            self.sent += 1
            if self.sent % 500 == 0:  # before the socket's queue is full
                await settled()
        await settled()
        self.at.link.carried.clear()
        gc.collect()
        return sys.getallocatedblocks()


def answered_from(heard: Heard, address: str) -> None:
    """The answer came from this address.  Raises AssertionError."""
    assert str(heard.source.address) == address, f"answered from {heard.source.address}, not {address}"

"""Counters: what became of each datagram, by instance, interface and outcome.

A `Counts` is a plain dict that the hot flow keeps at hand and adds to; reading and naming happen here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Final, Literal, TypeAlias

import attrs

from ..plugin import Transport

# Outcomes.  Plain strings, since an enum member's hash is computed in Python each time.
ANSWERED: Final = "answered"
"""Datagrams sent in answer; one that turns out not to have been sent is counted as that instead."""
SILENT: Final = "silent"
"""The handler took it and answered nothing."""
PASSED: Final = "passed"
"""Every instance that may answer returned PASS."""
INTERFACE: Final = "interface"
"""No instance on this port serves the arrival interface."""
DENIED: Final = "denied"
"""The peer is not in `allow`, or is in `deny`."""
LISTEN: Final = "listen"
"""Sent to an address that no instance listens on."""
OFF_LINK: Final = "off-link"
"""`on_link` is set, and the peer is in no prefix of the arrival interface."""
RATE: Final = "rate"
"""The answer, or the conversation, would be more than `rate` allows the peer's network."""
AMPLIFICATION: Final = "amplification"
"""The answer would be more than `amplification` allows the peer's network."""
GROUP: Final = "group"
"""Sent to a group that no instance joined."""
NO_DESTINATION: Final = "no-destination"
"""The platform did not tell where it was sent to (pktinfo missing)."""
TRUNCATED: Final = "truncated"
BAD_SOURCE: Final = "bad-source"
"""A multicast, broadcast or unspecified source, or port 0 (RFC 1122 section 3.2.1.3, RFC 768)."""
OWN_SOURCE: Final = "own-source"
"""Sent by this daemon itself (`responder.dispatch.own`): to a group, and looped back; or a forgery of that."""
MALFORMED: Final = "malformed"
"""The handler raised PeerError."""
CRASHED: Final = "crashed"
"""The handler raised something else, or returned what is no answer."""
BUSY: Final = "busy"
"""More async answers in flight than `max_pending` allows; or a connection that gave way (`max_connections`)."""
TIMEOUT: Final = "timeout"
"""An async answer took longer than `answer_timeout`."""
SOURCE_GONE: Final = "source-gone"
"""The address that was asked vanished before the reply."""
UNREACHABLE: Final = "unreachable"
"""There is no route to the peer, or the network says that nobody is there."""
TOO_LONG: Final = "too-long"
"""An answer longer than `max_answer`, or than the transport carries."""
NO_ROOM: Final = "no-room"
"""The kernel's send queue stayed full, or it refused (ENOBUFS, EPERM) several times."""
HEARD: Final = "heard"
"""Came to a conversation's port from its peer."""
STRANGER: Final = "stranger"
"""Came to a conversation's port from somebody else."""
SEND_FAILED: Final = "send-failed"
"""The system refused it for a reason that has no outcome of its own; the log names it."""
SENT: Final = "sent"
"""Sent unasked."""
CONNECTED: Final = "connected"
"""A TCP connection that an instance took."""

OUTCOMES: Final = (
    *(ANSWERED, SILENT, PASSED, INTERFACE, DENIED, LISTEN, OFF_LINK, RATE, AMPLIFICATION, GROUP, NO_DESTINATION),
    *(TRUNCATED, BAD_SOURCE, OWN_SOURCE, MALFORMED, CRASHED, BUSY, TIMEOUT, SOURCE_GONE, UNREACHABLE, TOO_LONG),
    *(NO_ROOM, HEARD, STRANGER, SEND_FAILED, SENT, CONNECTED),
)

REASONS: Final = {
    PASSED: "every instance passed",
    INTERFACE: "no instance serves this interface (interfaces)",
    DENIED: "the peer may not ask (allow, deny)",
    LISTEN: "no instance listens on this address (listen)",
    OFF_LINK: "the peer is not on the interface's own link (on_link)",
    RATE: "more answers, or conversations, than the peer's network may have (rate)",
    AMPLIFICATION: "more bytes than the peer's network may have for what it sent (amplification)",
    GROUP: "no instance joined this group (groups)",
    NO_DESTINATION: "the platform did not tell the destination",
    TRUNCATED: "the payload is not whole",
    BAD_SOURCE: "nobody can be answered at this source",
    OWN_SOURCE: "from this host's own address and port: sent by this daemon",
    BUSY: "too much work in flight (max_pending, max_connections), or no socket or thread to be had",
    TIMEOUT: "the answer took too long (answer_timeout)",
    TOO_LONG: "the answer is too long (max_answer)",
}
"""The rule behind an outcome, with the instance key that sets it."""

Counts: TypeAlias = dict[str, int]
"""Counts by outcome; each of OUTCOMES is there.  A plain dict, which is the fastest to add to."""

Traffic: TypeAlias = dict[Literal["received", "sent"], int]
"""Bytes of payload that came in by a port, whether or not they were answered, and that went out by it."""

NOBODY: Final = "-"
"""The instance's name where none took the datagram."""

NO_INTERFACE: Final = "-"
"""The interface's name of what was sent without naming one."""

OTHER: Final = "other"
"""The name under which interfaces are counted that are gone, or too many."""


def new_traffic() -> Traffic:
    return {"received": 0, "sent": 0}


@attrs.define
class Counters:
    """All counts of a server.  `limit` bounds the interface names remembered; later ones share the name `OTHER`."""

    limit: int = 4096
    _counted: dict[tuple[str, str], Counts] = attrs.field(factory=dict, init=False)
    _traffic: dict[tuple[int, Transport], Traffic] = attrs.field(factory=dict, init=False)

    def traffic(self, port: int, transport: Transport) -> Traffic:
        """What to count a port's bytes in, those of its conversations included; the same object for the same port."""
        return self._traffic.setdefault((port, transport), new_traffic())

    def traffics(self) -> Iterator[tuple[int, Transport, Traffic]]:
        """All of them, by port and transport."""
        return ((port, transport, each) for (port, transport), each in self._traffic.items())

    def counts(self, instance: str, interface: str) -> Counts:
        """The counts to add to; the same object for the same names."""
        key = (instance, interface)
        known = self._counted.get(key)
        if known is not None:
            return known
        if len(self._counted) >= self.limit:
            key = (instance, OTHER)
        return self._counted.setdefault(key, dict.fromkeys(OUTCOMES, 0))

    def interfaces(self) -> set[str]:
        """The names of interfaces that something is counted for, but for `NO_INTERFACE` and `OTHER`."""
        return {interface for _, interface in self._counted} - {NO_INTERFACE, OTHER}

    def forget(self, interface: str) -> None:
        """Add what was counted for an interface to that of `OTHER`, so that no sum goes back."""
        for instance, name in [*self._counted]:
            if name == interface:
                for outcome, count in self._counted.pop((instance, name)).items():
                    self._counted.setdefault((instance, OTHER), dict.fromkeys(OUTCOMES, 0))[outcome] += count

    def snapshot(self) -> dict[str, dict[str, dict[str, int]]]:
        """instance -> interface -> outcome -> count, without zeros."""
        result: dict[str, dict[str, dict[str, int]]] = {}
        for (instance, interface), each in self._counted.items():
            counts = {outcome: count for outcome, count in each.items() if count}
            if counts:
                result.setdefault(instance, {})[interface] = counts
        return result

    def total(self, outcome: str, instance: str | None = None) -> int:
        """The sum over interfaces, and over instances unless one is named."""
        return sum(
            counts.get(outcome, 0)
            for (name, _), counts in self._counted.items()
            if instance is None or name == instance
        )


BOUNDS: Final = (
    *(0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""The upper bounds of a histogram's buckets in seconds: from a plain answer to one that waits for somebody else."""


@attrs.define(eq=False)
class Histogram:
    """How long something took, as Prometheus counts it.  `total` is the sum in seconds."""

    counts: list[int] = attrs.field(factory=lambda: [0] * (len(BOUNDS) + 1), init=False)
    """One for each of `BOUNDS`, and one for what took longer than any."""
    total: float = attrs.field(default=0.0, init=False)

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def observe_short(self, count: int, seconds: float) -> None:
        """So many that took so long together, each no longer than the first bound."""
        self.counts[0] += count
        self.total += seconds

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound with how many took no longer."""
        return zip(BOUNDS, accumulate(self.counts), strict=False)

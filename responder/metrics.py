"""Counters: what became of each datagram, by instance, interface and outcome.

A `Tally` is a plain dict that the hot path keeps at hand and adds to; reading and naming happen here.  This file
refuses to know how the numbers are shown.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, TypeAlias

import attrs

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
GROUP: Final = "group"
"""Sent to a group that no instance joined."""
NO_DESTINATION: Final = "no-destination"
"""The platform did not tell where it was sent to (pktinfo missing)."""
TRUNCATED: Final = "truncated"
BAD_SOURCE: Final = "bad-source"
"""A multicast, broadcast or unspecified source, or port 0 (RFC 1122 section 3.2.1.3, RFC 768)."""
OWN_SOURCE: Final = "own-source"
"""From one of this host's addresses and this very port: our own multicast, looped back, or a forgery."""
MALFORMED: Final = "malformed"
"""The handler raised PeerError."""
CRASHED: Final = "crashed"
"""The handler raised something else, or returned what is no answer."""
BUSY: Final = "busy"
"""More async answers in flight than `max_pending` allows, or more connections than `max_connections`."""
TIMEOUT: Final = "timeout"
"""An async answer took longer than `answer_timeout`."""
SOURCE_GONE: Final = "source-gone"
"""The address that was asked vanished before the reply."""
UNREACHABLE: Final = "unreachable"
TOO_LONG: Final = "too-long"
"""An answer longer than the transport carries."""
NO_ROOM: Final = "no-room"
"""The kernel's send queue stayed full, or it refused (ENOBUFS, EPERM) several times."""
SENT: Final = "sent"
"""Sent unasked."""
CONNECTED: Final = "connected"
"""A TCP connection that an instance took."""

Tally: TypeAlias = dict[str, int]
"""Counts by outcome."""

NOBODY: Final = "-"
"""The instance's name where none took the datagram."""


@attrs.define
class Counters:
    """All tallies of a server.  `limit` bounds the interface names remembered; later ones share the name "other"."""

    limit: int = 4096
    _tallies: dict[tuple[str, str], Tally] = attrs.field(factory=dict, init=False)

    def tally(self, instance: str, interface: str) -> Tally:
        """The tally to add to; the same object for the same names."""
        key = (instance, interface)
        if key not in self._tallies and len(self._tallies) >= self.limit:
            key = (instance, "other")
        return self._tallies.setdefault(key, defaultdict(int))

    def snapshot(self) -> dict[str, dict[str, dict[str, int]]]:
        """instance -> interface -> outcome -> count, without zeros."""
        result: dict[str, dict[str, dict[str, int]]] = {}
        for (instance, interface), tally in self._tallies.items():
            counts = {outcome: count for outcome, count in tally.items() if count}
            if counts:
                result.setdefault(instance, {})[interface] = counts
        return result

    def total(self, outcome: str, instance: str | None = None) -> int:
        """The sum over interfaces, and over instances unless one is named."""
        return sum(
            tally.get(outcome, 0) for (name, _), tally in self._tallies.items() if instance is None or name == instance
        )

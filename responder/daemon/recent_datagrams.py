"""Some of the last datagrams and what became of them, for those who look from time to time.

Nothing is kept while nobody looks, and little while somebody does: after a look the next `KEPT` datagrams are, and then
none until the next look.  A daemon with more to do than that in a second shows a part of what it does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from ..dispatch.observers import Observation, Observers
from .words import Words

KEPT = 20


@attrs.define(eq=False)
class RecentDatagrams:
    """An observer that comes and goes by itself; `words` gives the plugin's words for what is seen."""

    _observers: Observers
    _words: Callable[[Observation], Words]
    _kept: deque[dict[str, Any]] = attrs.field(factory=lambda: deque(maxlen=KEPT), init=False)
    _room: int = attrs.field(default=0, init=False)

    def look(self) -> list[dict[str, Any]]:
        """What was kept, the newest first; and keep the next."""
        if self not in self._observers.present:
            self._observers.add(self)
        self._room = KEPT
        return newest_first(self._kept)

    def __call__(self, seen: Observation) -> None:
        self._room -= 1
        if self._room <= 0:
            self._observers.remove(self)
        self._kept.append(observation_as_json(seen, False, False, self._words(seen)))


def newest_first(datagrams: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest datagrams, as many as are shown."""
    return sorted(datagrams, key=lambda each: -each["time"])[:KEPT]


def observation_as_json(seen: Observation, further: bool, payloads: bool, words: Words) -> dict[str, Any]:
    """An observation as JSON has it; `further`: one more answer to the request of the line before."""
    shown: dict[str, Any] = {
        "time": seen.time,
        "transport": seen.transport,
        "port": seen.port,
        "peer": str(seen.peer.address),
        "peer_port": seen.peer.port,
        "scope_id": seen.peer.scope_id,
        "destination": None if seen.destination is None else str(seen.destination),
        "interface": seen.interface,
        "via": str(seen.via),
        "plugin": seen.instance,
        "outcome": seen.outcome,
        "reason": seen.reason,
        "bytes": None if seen.request is None else len(seen.request),
        "further": further,
        "words": words,
        "answers": [
            {
                "source": None if route.source is None else str(route.source),
                "to": str(route.to),
                "to_port": port,
                "time": time,
                "bytes": len(payload),
                **({"payload": payload} if payloads else {}),
            }
            for time, (payload, route, port) in seen.answers
        ],
    }
    if payloads and seen.request is not None:
        shown["payload"] = seen.request
    return shown

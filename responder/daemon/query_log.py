"""The query log: one line for each answer, for those who want to know who asked (`queries = true`).

It is an observer like any other, so it costs nothing while it is off.  The lines go to the logger `responder.queries`
at level info.  No line has a payload; what was said is told in the plugin's words, as `words`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..dispatch import outcomes
from ..dispatch.observers import Observation
from ..log import Logger, get_logger
from .words import Words

_ANSWERED = frozenset({outcomes.ANSWERED, outcomes.CONNECTED})
"""A datagram's answer, and what a connection was answered."""


class QueryLog:
    """Add it to a server's `observers`; `words` gives the plugin's words for what is seen."""

    def __init__(self, words: Callable[[Observation], Words], logger: Logger | None = None) -> None:
        self._words = words
        self._log = logger or get_logger("responder.queries")

    def __call__(self, seen: Observation) -> None:
        if seen.outcome not in _ANSWERED or not seen.answers:
            return
        words = self._words(seen)
        self._log.info(
            "answered",
            peer=str(seen.peer),
            destination=None if seen.destination is None else str(seen.destination),
            port=seen.port,
            transport=seen.transport,
            interface=seen.interface,
            plugin=seen.instance,
            received=len(seen.request or b""),
            sent=seen.bytes_sent,
            **({"words": words} if words else {}),
        )

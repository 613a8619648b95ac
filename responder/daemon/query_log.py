"""The query log: one line for each answer, for those who want to know who asked (`queries = true`).

It is an observer like any other, so it costs nothing while it is off.  The lines go to the logger `responder.queries`
at level info.  No line has a payload.
"""

from __future__ import annotations

from ..dispatch import outcomes
from ..dispatch.observers import Observation
from ..log import Logger, get_logger


class QueryLog:
    """Add it to a server's `observers`."""

    def __init__(self, logger: Logger | None = None) -> None:
        self._log = logger or get_logger("responder.queries")

    def __call__(self, seen: Observation) -> None:
        if seen.outcome != outcomes.ANSWERED:
            return
        self._log.info(
            "answered",
            peer=str(seen.peer),
            destination=None if seen.destination is None else str(seen.destination),
            port=seen.port,
            interface=seen.interface,
            plugin=seen.instance,
            received=len(seen.request or b""),
            sent=seen.bytes_sent,
        )

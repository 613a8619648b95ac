"""Watching what becomes of each datagram: for `responderd trace`, the query log and captures.

An observer is a callable that takes an `Observation`.  Nothing is made while nobody watches: dispatch asks first.
This file refuses to format, store or send what is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

from ..datagram import IPAddress, Peer, Via
from ..log import get_logger
from ..net.types import Transmit

_log = get_logger(__name__)


@attrs.frozen
class Observation:
    """What became of one datagram, or of one connection.

    time         when it was decided: seconds of the real-time clock
    transport    "udp" or "tcp"
    port         the port that was asked
    peer         who asked
    destination  the address that was asked; None where the platform did not tell
    interface    the arrival interface's name
    instance     who took it, or whose rule refused it; "-" where several instances share the port and none took it
    outcome      a constant of `responder.dispatch.outcomes`
    reason       the same in words: the rule, the error
    request      the payload that came in
    answers      what is sent for it; of an async iterator's answers, each is an observation of its own
    """

    time: float
    transport: Literal["udp", "tcp"]
    port: int
    peer: Peer
    destination: IPAddress | None
    interface: str
    via: Via
    instance: str
    outcome: str
    reason: str
    request: bytes
    answers: tuple[Transmit, ...] = ()


Observer: TypeAlias = Callable[[Observation], None]


class Observers:
    """Those who watch: `present`, in the order in which they were added.  False while there are none."""

    def __init__(self) -> None:
        self.present: tuple[Observer, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.present)

    def add(self, observer: Observer) -> None:
        self.present += (observer,)

    def remove(self, observer: Observer) -> None:
        """One that is not there is no error."""
        self.present = tuple(each for each in self.present if each != observer)

    def tell(self, observation: Observation) -> None:
        """An observer that raises is removed: watching must not hurt answering."""
        for observer in self.present:
            try:
                observer(observation)
            except Exception as error:
                _log.error("an observer failed and is gone", exc_info=error)
                self.remove(observer)

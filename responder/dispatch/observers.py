"""Watching what becomes of each datagram: for `responderd trace`, the query log and captures.

An observer is a callable that takes an `Observation`.  It is told what happened, not what was decided: an answer is
told once the kernel has taken it, or once it is lost.  Nothing is made while nobody watches: dispatch asks first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from ..datagram import IPAddress, Peer, Via
from ..log import get_logger
from ..net.types import Message
from ..plugin import Transport
from . import outcomes

_log = get_logger(__name__)


Sent: TypeAlias = tuple[float, Message]
"""What the kernel took to send, or a connection's peer was written, after when: seconds of the real-time clock."""


@attrs.frozen(kw_only=True)
class Observation:
    """What became of one request, or of something that was sent without one.

    time         when the request came, by the kernel's clock where it tells, else when it was read; without a request
                 when it was sent: seconds of the real-time clock
    transport    "udp" or "tcp"
    port         our own port: the one that was asked, or a conversation's
    peer         who asked, or, without a request, who was sent something
    destination  our own address: the one that was asked; None where it is not known
    interface    the interface's name: where the request came in; "-" where routing chose one to send out of
    instance     who took it, or whose rule refused it; "-" where several instances share the port and none took it
    outcome      a constant of `responder.dispatch.outcomes`
    error        what was raised, in words
    request      the payload that came in, or what a connection was sent since the last observation of it; None where
                 nothing came in
    answers      what was sent for it.  Each answer of an async iterator is an observation of its own, and so is each
                 that was lost: its outcome says how, and it is not among them
    """

    time: float
    transport: Transport
    port: int
    peer: Peer
    destination: IPAddress | None
    interface: str
    via: Via
    instance: str
    outcome: str
    error: str = ""
    request: bytes | None = None
    answers: tuple[Sent, ...] = ()

    @property
    def reason(self) -> str:
        """The outcome in words: the error, or the rule."""
        return self.error or outcomes.REASONS.get(self.outcome, "")

    @property
    def bytes_sent(self) -> int:
        """Bytes of all answers together."""
        return sum(len(payload) for _, (payload, _, _) in self.answers)


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

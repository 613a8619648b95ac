"""A message that gets no answer (llmnr, nbns, sntp, ssdp, stun, tftp, wsd): what is raised, and how it is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Protocol, TypeVar

from responder import Answer, Datagram, PeerError


class Refused(PeerError):
    """A message that gets no answer; `kind` is what it is counted by."""

    def __init__(self, message: str, kind: str = "malformed") -> None:
        super().__init__(message)
        self.kind = kind


class Counting(Protocol):
    """A handler that counts by kinds of its own."""

    counted: Counter[str]


H = TypeVar("H", bound=Counting)


def refusals_counted(respond: Callable[[H, Datagram], Answer]) -> Callable[[H, Datagram], Answer]:
    """A handler's `respond` that counts each `Refused` by its kind."""

    @wraps(respond)
    def counting(handler: H, request: Datagram) -> Answer:
        try:
            return respond(handler, request)
        except Refused as error:
            handler.counted[error.kind] += 1
            raise

    return counting

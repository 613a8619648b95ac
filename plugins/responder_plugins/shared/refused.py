"""What a plugin raises of a message that gets no answer: for llmnr, nbns, sntp, ssdp, stun, tftp and wsd."""

from __future__ import annotations

from responder import PeerError


class Refused(PeerError):
    """A message that gets no answer; `kind` is what it is counted by."""

    def __init__(self, message: str, kind: str = "malformed") -> None:
        super().__init__(message)
        self.kind = kind

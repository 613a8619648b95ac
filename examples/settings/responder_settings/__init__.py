"""settings: hands devices their settings, each in pieces by a conversation, and tells them by a timer when to ask.

The protocol is this example's own; its README has it whole.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import attrs
import trio
from responder import (
    Answer,
    Context,
    Conversation,
    Datagram,
    Duration,
    Handler,
    Network,
    PeerError,
    Plugin,
    SendError,
    Service,
)

GROUP = "239.255.70.70"
GET = re.compile(rb"GET ([a-z0-9-]{1,32})")
PIECE = 1024
"""Bytes of settings in a datagram."""

WAITS = (1.0, 2.0, 4.0)
"""Seconds that each try waits for an acknowledgment: the timer of a transfer."""


def is_interval(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if value < 1:
        raise ValueError(f"{attribute.name}: expected a second or more")


@attrs.frozen
class Settings(Plugin):
    """Hands devices their settings.

    files     name of a device -> file of its settings
    announce  time between announcements
    """

    files: dict[str, Path] = attrs.field(factory=dict[str, Path])
    announce: Duration = attrs.field(default=60.0, validator=is_interval)

    # A device that says nothing gets the first piece, three times; what it acknowledges proves where it is.
    services: ClassVar = (Service(port=7070, groups=[GROUP], rate=10),)

    def prepare(self, context: Context) -> Handler:
        """Raises ConfigError for a file that can't be read; a reload that finds a file changed reads it again."""
        texts = {name: context.read_bytes(file, key=f"files.{name}") for name, file in self.files.items()}
        return SettingsHandler(texts, self.announce)


class SettingsHandler(Handler):
    """Has the settings of each device, by its name."""

    def __init__(self, texts: Mapping[str, bytes], announce: float) -> None:
        self.texts = texts
        self.announce = announce
        self.counted = Counter[str]()

    def respond(self, request: Datagram) -> Answer:
        found = GET.fullmatch(request.payload)
        if found is None:
            raise PeerError("that is no request")
        text = self.texts.get(found[1].decode())
        if text is None:
            self.counted["unknown"] += 1
            return b"NO"
        return self.transfer(request, text)  # a coroutine: it goes on beside other answers

    async def transfer(self, request: Datagram, text: bytes) -> None:
        """Send all pieces, each when the one before was acknowledged, from a port of their own."""
        async with request.conversation() as conversation:
            for packet, acknowledgment in packets(text):
                if not await deliver(conversation, packet, acknowledgment):
                    self.counted["given-up"] += 1
                    return
        self.counted["sent"] += 1

    async def run(self, network: Network) -> None:
        """Announce the settings, at once and then by the timer, until it is time to end."""
        digest = hashlib.sha256(repr(sorted(self.texts.items())).encode()).hexdigest()[:16]
        while network.stopping.reason is None:
            for interface in network.interfaces:
                if interface.is_working and "multicast" in interface.flags:
                    with suppress(SendError):  # the next announcement may get through
                        await network.send(f"SETTINGS {digest}".encode(), to=GROUP, interface=interface)
            with trio.move_on_after(self.announce):
                await network.stopping.wait()

    def counts(self) -> Mapping[str, int]:
        return self.counted


def packets(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each piece as it is sent, and how it is acknowledged."""
    pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)] or [b""]
    for number, piece in enumerate(pieces, 1):
        yield f"{number}/{len(pieces)} ".encode() + piece, f"OK {number}".encode()


async def deliver(conversation: Conversation, packet: bytes, acknowledgment: bytes) -> bool:
    """Send a packet until it is acknowledged; False: it is not, however often it is sent."""
    for wait in WAITS:
        await conversation.send(packet)
        with trio.move_on_after(wait):
            while await conversation.receive() != acknowledgment:
                pass  # of an earlier piece, which came twice: it makes nothing be sent again
            return True
    return False

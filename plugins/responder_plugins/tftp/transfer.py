"""One transfer: blocks to one peer, each window once, and again where its acknowledgment does not come.

A block is sent again for one reason alone: time has passed without progress.  An acknowledgment that comes twice makes
nothing be sent twice (RFC 1123 section 4.2.3.1, the sorcerer's apprentice); in a window of several blocks it says
that the first was lost, and is believed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import attrs
import trio

from responder import Conversation

from ..shared.file_threads import FileThreads
from .files import Blocks
from .message import Code, Terms, is_error, read_acknowledgment, write_data, write_error

TIMEOUT: Final = 1.0
"""Seconds until something is sent again, where the peer says nothing else; doubled each time, up to MAX_TIMEOUT."""

MAX_TIMEOUT: Final = 8.0

TRIES: Final = 6
"""How often something is sent at most."""

TRIES_UNPROVED: Final = 2
"""The same before the peer has said anything, since its address may be forged."""


class Ended(Exception):
    """A transfer that will not be finished; `kind` is what it is counted by."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@attrs.define(eq=False)
class Transfer:
    """Sends a file.

    heard    called whenever the peer has said something
    threads  read the file
    """

    conversation: Conversation
    blocks: Blocks
    terms: Terms
    heard: Callable[[], None]
    threads: FileThreads
    _is_proved: bool = attrs.field(default=False, init=False)

    async def run(self, option_acknowledgment: bytes | None) -> None:
        """Send all, from the options' acknowledgment, if any, to the last block.

        Raises Ended, and what the conversation raises.
        """
        if option_acknowledgment is not None:
            await self._deliver(0, [option_acknowledgment])
        first, window, size = 1, self.terms.window_size, self.terms.block_size
        while True:
            if not self.blocks.has(first, window):
                await self._read(first, window)
            blocks = self.blocks.get(first, window)
            packets = [write_data(first + number, block) for number, block in enumerate(blocks)]
            taken = await self._deliver(first, packets)
            if taken == len(blocks) and len(blocks[-1]) < size:
                return
            first += taken

    async def _read(self, first: int, count: int) -> None:
        try:
            await self.threads.run(partial(self.blocks.read, first, count))
        except OSError as error:
            await self.conversation.send(write_error(Code.NOT_DEFINED, "the file can't be read any more"))
            raise Ended("read-failed") from error

    async def _deliver(self, first: int, packets: Sequence[bytes]) -> int:
        """Send blocks from number `first` on until some are acknowledged: how many."""
        tries, timeout = 0, float(self.terms.timeout or TIMEOUT)
        believes = len(packets) > 1
        while tries < (TRIES if self._is_proved else TRIES_UNPROVED):
            tries += 1
            await self.conversation.send(*packets)
            with trio.move_on_after(timeout):
                taken = await self._acknowledged(first, len(packets), believes)
                if taken:
                    return taken
                believes = False
                continue
            if self.terms.timeout is None:
                timeout = min(MAX_TIMEOUT, timeout * 2)
        raise Ended("timed-out")

    async def _acknowledged(self, first: int, count: int, believes: bool) -> int:
        """How many of those blocks the peer says that it has; 0: that it has none of them, if that is believed."""
        while True:
            payload = await self.conversation.receive()
            self._is_proved = True
            self.heard()
            if is_error(payload):
                raise Ended("ended-by-peer")
            number = read_acknowledgment(payload)
            if number is None:
                continue
            taken = (number - (first - 1)) & 0xFFFF
            if 1 <= taken <= count or (taken == 0 and believes):
                return taken

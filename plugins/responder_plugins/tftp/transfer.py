"""One transfer: blocks to one peer, each window once, and again where its acknowledgment does not come.

A block is sent again for one reason alone: time has passed without progress.  An acknowledgment that comes twice makes
nothing be sent twice (RFC 1123 section 4.2.3.1, the sorcerer's apprentice); in a window of several blocks it says
that the first was lost, and is believed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import attrs
import trio

from responder import Conversation, SendRefused

from ..shared.file_threads import FileThreads
from .files import Blocks
from .message import Code, Terms, is_error, read_acknowledgment, write_data, write_error

FIRST_TIMEOUT: Final = 1.0
"""Seconds until the first packet is sent again, where the peer asks for no time; doubled each time."""

TIMEOUTS: Final = 0.2, 8.0
"""The least and the most that it gets by what the peer's acknowledgments take (RFC 1123 section 4.2.3.2)."""

PATIENCE: Final = 30.0
"""Seconds after which what is not acknowledged is not sent again."""

TRIES: Final = 6
"""How often something is sent at most where the peer has asked for a time."""

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
    _timeout: float = attrs.field(default=FIRST_TIMEOUT, init=False)
    _mean: float | None = attrs.field(default=None, init=False)
    _deviation: float = attrs.field(default=0.0, init=False)
    """Seconds that acknowledgments take."""

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
        tries, timeout, began = 0, float(self.terms.timeout or self._timeout), trio.current_time()
        believes = len(packets) > 1
        while self._may_try(tries, trio.current_time() - began):
            tries += 1
            with suppress(SendRefused):  # for a moment, as a link that loses
                await self.conversation.send(*packets)
            with trio.move_on_after(timeout):
                taken = await self._acknowledged(first, len(packets), believes)
                if taken:
                    self._learn(trio.current_time() - began if tries == 1 else None, timeout)
                    return taken
                believes = False
                continue
            timeout = self.terms.timeout or min(TIMEOUTS[1], timeout * 2)
        raise Ended("timed-out")

    def _may_try(self, tries: int, waited: float) -> bool:
        if not self._is_proved:
            return tries < TRIES_UNPROVED
        return waited < PATIENCE if self.terms.timeout is None else tries < TRIES

    def _learn(self, took: float | None, timeout: float) -> None:
        """How long to wait the next time, by how long an acknowledgment took (RFC 6298 section 2).

        None: nobody knows which of several packets it was for; then as long as this time (section 5.7).
        """
        if took is None:
            self._timeout = timeout
            return
        if self._mean is None:
            self._mean, self._deviation = took, took / 2
        else:
            self._deviation += (abs(took - self._mean) - self._deviation) / 4
            self._mean += (took - self._mean) / 8
        self._timeout = min(max(TIMEOUTS[0], self._mean + 4 * self._deviation), TIMEOUTS[1])

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

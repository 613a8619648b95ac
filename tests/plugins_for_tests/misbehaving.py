"""Plugins that each do one thing wrong, as plugins of good faith do.

They stand in for other people's code: what they do must stay their own misfortune.  None of them is an example to
follow, and nothing here imports the tests: it is installed as a distribution of its own (see `__init__.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from typing import ClassVar

import attrs
import trio

from responder import Answer, Context, Datagram, Handler, Network, Plugin, Service


@attrs.frozen
class Raising(Plugin):
    """Raises on each datagram, with what the peer sent in the message."""

    services: ClassVar = (Service(port=7101),)

    def respond(self, request: Datagram) -> Answer:
        raise LookupError(f"no such thing: {request.payload.decode(errors='replace')}")


@attrs.frozen
class Sleeping(Plugin):
    """Declared blocking, and takes its time for each answer."""

    seconds: float = 1.0

    services: ClassVar = (Service(port=7102, blocking=True),)

    def respond(self, request: Datagram) -> Answer:
        time.sleep(self.seconds)
        return request.payload


@attrs.frozen
class Stillborn(Plugin):
    """Its background work dies at once, each time."""

    services: ClassVar = (Service(port=7103),)

    def respond(self, request: Datagram) -> Answer:
        return request.payload

    async def run(self, network: Network) -> None:
        raise ConnectionError("no database here")


@attrs.frozen
class Amplifying(Plugin):
    """Answers whatever it is asked with 60 KB."""

    size: int = 60_000

    services: ClassVar = (Service(port=7104),)

    def respond(self, request: Datagram) -> Answer:
        return bytes(self.size)


@attrs.frozen
class Holding(Plugin):
    """Holds the event loop up without having said so; what begins with "!" it then answers by raising."""

    seconds: float = 0.3

    services: ClassVar = (Service(port=7105),)

    def respond(self, request: Datagram) -> Answer:
        time.sleep(self.seconds)
        if request.payload.startswith(b"!"):
            raise LookupError("after a long search")
        return request.payload


@attrs.frozen
class HoldingAsync(Plugin):
    """The same from within a coroutine, where a forgotten `await` of a library would do it."""

    seconds: float = 0.3

    services: ClassVar = (Service(port=7106),)

    async def respond(self, request: Datagram) -> bytes:
        time.sleep(self.seconds)  # noqa: ASYNC251 - that is what it does wrong
        return request.payload


class SpeechlessError(Exception):
    """One that can't say what it is: its author forgot that `args` may be short."""

    def __str__(self) -> str:
        return str(self.args[1])


@attrs.frozen
class Speechless(Plugin):
    """Raises an error whose text can't be had."""

    services: ClassVar = (Service(port=7107),)

    def respond(self, request: Datagram) -> Answer:
        raise SpeechlessError("only one argument")


@attrs.frozen
class Impatient(Plugin):
    """Answers piece by piece under a time limit of its own, which ends while the framework sends a piece."""

    services: ClassVar = (Service(port=7108),)

    async def respond(self, request: Datagram) -> AsyncIterator[bytes]:
        with trio.move_on_after(0.05):
            while True:  # and nothing in it waits
                yield request.payload


@attrs.frozen
class Quitting(Plugin):
    """Ends the program where it should have raised an error: from tasks of its own, so that it comes in a group."""

    services: ClassVar = (Service(port=7109),)

    async def respond(self, request: Datagram) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._quit)

    async def _quit(self) -> None:
        raise SystemExit("usage: ...")


@attrs.frozen
class SlowToPrepare(Plugin):
    """Takes long to prepare, as one that asks a file server which is gone."""

    seconds: float = 0.0

    services: ClassVar = (Service(port=7110),)

    def prepare(self, context: Context) -> Handler:
        if self.seconds:
            logging.getLogger(__name__).warning("preparing")
            time.sleep(self.seconds)
        return self

    def respond(self, request: Datagram) -> Answer:
        return request.payload


@attrs.frozen
class Mortal(Plugin):
    """Its background work crashes again and again, some time after each start."""

    seconds: float = 1.0

    services: ClassVar = (Service(port=7111),)

    def respond(self, request: Datagram) -> Answer:
        return request.payload

    async def run(self, network: Network) -> None:
        await trio.sleep(self.seconds)
        raise OSError("the disk is full")


@attrs.frozen
class Unprepared(Plugin):
    """Fails to prepare, by a mistake of its own, until its option says otherwise."""

    works: bool = False

    services: ClassVar = (Service(port=7112),)

    def prepare(self, context: Context) -> Handler:
        if not self.works:
            raise ZeroDivisionError("a mistake of mine")
        return self

    def respond(self, request: Datagram) -> Answer:
        return request.payload


@attrs.frozen
class Shielded(Plugin):
    """Its background work will not be ended: it waits for somebody who never comes, where nothing reaches it."""

    word: str = ""

    services: ClassVar = (Service(port=7113),)

    def respond(self, request: Datagram) -> Answer:
        return self.word.encode() or request.payload

    async def run(self, network: Network) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()

"""A worker's process as its parent holds it: started, handed its sockets, asked, and ended.

`responder.daemon.workers.program` says what it can be asked.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, Self

import attrs
import trio

from ...net.handover import Giver, Shares, pair
from ..control_client import MAX_ANSWER

MODULE = "responder.daemon.workers.program"
PIECE = 65536

LAST_PATIENCE = 5.0
"""Seconds that a process which has closed all it had open may take to be gone: on a loaded machine too."""

LOOK = 0.01
"""Seconds between two looks at whether a process that ends is gone."""


class WorkerError(Exception):
    """A process did not do what it was asked: it has ended, or (`answered`) the message says why not."""

    def __init__(self, message: str, *, answered: bool = False) -> None:
        super().__init__(message)
        self.answered = answered


class Process(Protocol):
    """What a worker needs of its process (`WorkerProcess`)."""

    @property
    def pid(self) -> int: ...

    async def ended(self) -> None:
        """Return once it has ended, or is about to.  For one task at a time."""

    async def hand(self, shares: Iterable[Shares], number: int) -> None:
        """Give it its sockets of each port, for its next `prepare`.  Raises WorkerError."""

    async def ask(self, request: str, **fields: Any) -> Any:
        """The answer to a request.  Raises WorkerError; waits for as long as it takes."""

    def answers(self, request: Mapping[str, Any]) -> AbstractAsyncContextManager[AsyncIterator[dict[str, Any]]]:
        """Each line that it says to a request, until it ends.  Raises WorkerError."""

    def wake(self) -> None:
        """Have it go on where somebody has stopped it (SIGSTOP)."""

    def kill(self) -> None: ...

    async def end(self) -> int:
        """Kill it unless it has ended; the exit status.  Negative: the signal that ended it."""


@attrs.define(eq=False)
class WorkerProcess:
    """A running process.  Made by `start`; to be ended with `end`."""

    _process: subprocess.Popen[bytes]
    _giver: Giver
    _has_ended: bool = attrs.field(default=False, init=False)

    @classmethod
    def start(cls, number: int, count: int) -> Self:
        """The process of worker `number`, one of `count`.  Raises OSError."""
        giver, theirs = pair()
        try:
            with theirs:
                # -P: what lies in the working folder is nothing to import.  A process group of its own: a terminal's
                # Ctrl-C is for the parent.
                descriptor = theirs.fileno()
                process = subprocess.Popen(  # noqa: S603 - nothing of it comes from outside
                    [sys.executable, "-P", "-m", MODULE, *map(str, (descriptor, number, count))],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(descriptor,),
                    process_group=0,
                )
        except BaseException:
            giver.close()
            raise
        return cls(process, giver)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ended(self) -> None:
        await self._giver.ended()
        self._has_ended = True

    async def hand(self, shares: Iterable[Shares], number: int) -> None:
        try:
            for each in shares:
                await self._giver.give(each, number)
        except trio.BrokenResourceError as error:
            raise WorkerError("it has ended") from error

    async def ask(self, request: str, **fields: Any) -> Any:
        async with self.answers({"request": request, **fields}) as answers:
            async for answer in answers:
                if "error" in answer:
                    raise WorkerError(str(answer["error"]), answered=True)
                return answer.get(request)
        raise WorkerError(f"it did not answer to {request!r}")

    @asynccontextmanager
    async def answers(self, request: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        try:
            stream = await self._giver.connect()
        except trio.BrokenResourceError as error:
            raise WorkerError("it has ended") from error
        except OSError as error:  # no descriptor is free: it is not the process that fails
            raise WorkerError(f"it can't be asked: {error.strerror}", answered=True) from error
        async with stream:
            try:
                await stream.send_all(json.dumps(request).encode() + b"\n")
            except trio.BrokenResourceError as error:
                raise WorkerError("it has ended") from error
            yield _lines(stream)

    def wake(self) -> None:
        self._process.send_signal(getattr(signal, "SIGCONT"))  # noqa: B009 - Windows, which has no workers, lacks it

    def kill(self) -> None:
        self._process.kill()

    async def end(self) -> int:
        if self._has_ended:
            # It has closed all it had open, so it is about to be gone.
            with trio.move_on_after(LAST_PATIENCE):
                await self._gone()
        self._giver.close()
        self._process.kill()  # nothing happens where it has ended
        return await self._gone()

    async def _gone(self) -> int:
        """Wait until it is gone; the exit status.  By looks: a thread or a descriptor may not be to be had."""
        while True:
            status = self._process.poll()
            if status is not None:
                return status
            await trio.sleep(LOOK)


async def _lines(stream: trio.SocketStream) -> AsyncIterator[dict[str, Any]]:
    buffered = b""
    while True:
        try:
            data = await stream.receive_some(PIECE)
        except trio.BrokenResourceError:
            return
        if not data:
            return
        *lines, buffered = (buffered + data).split(b"\n")
        if len(buffered) > MAX_ANSWER:
            raise WorkerError("what it says has no end")
        for line in lines:
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                raise WorkerError("what it says is no answer") from None

"""A worker as the supervising process holds it: started, handed its ports, asked, and ended; and its lives together.

What it can be asked is said in `responder.daemon.workers.worker`.  This file refuses to decide when a worker is started
or ended (`responder.daemon.workers.team`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import attrs
import cattrs
import trio

from ...net.handover import Giver, Shares, pair
from ..status import Status, WorkerStatus
from .sums import combined, departed

MODULE = "responder.daemon.workers.worker"
PIECE = 65536

LAST_PATIENCE = 5.0
"""Seconds that a process which has closed all it had open may take to be gone: on a loaded machine too."""


class WorkerGone(Exception):
    """The worker ended before it answered, or what it answered was an error; in words."""


@attrs.define(eq=False)
class WorkerProcess:
    """A running worker.  Made by `start`; to be ended with `end`."""

    _process: subprocess.Popen[bytes]
    _giver: Giver

    @classmethod
    def start(cls, number: int) -> Self:
        """Raises OSError."""
        giver, theirs = pair()
        try:
            with theirs:
                # -P: what lies in the working folder is nothing to import.  A process group of its own: a terminal's
                # Ctrl-C is for the supervising process.
                descriptor = theirs.fileno()
                process = subprocess.Popen(  # noqa: S603 - nothing of it comes from outside
                    [sys.executable, "-P", "-m", MODULE, str(descriptor), str(number)],
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

    async def cancel_at_end(self, scope: trio.CancelScope) -> None:
        """Cancel what is done with it once it has ended.  For one task at a time."""
        await self._giver.ended()
        scope.cancel()

    async def hand(self, shares: Iterable[Shares], number: int) -> None:
        """Its sockets of each port; they are its next set.  Raises WorkerGone."""
        try:
            for each in shares:
                await self._giver.give(each, number)
        except trio.BrokenResourceError as error:
            raise WorkerGone("it has ended") from error

    async def ask(self, request: str, **fields: Any) -> Any:
        """The answer to a request.  Raises WorkerGone; waits for as long as it takes."""
        async with self.answers({"request": request, **fields}) as answers:
            async for answer in answers:
                if "error" in answer:
                    raise WorkerGone(answer["error"])
                return answer[request]
        raise WorkerGone(f"it did not answer to {request!r}")

    @asynccontextmanager
    async def answers(self, request: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Each line that it says to a request, until it ends.  Raises WorkerGone."""
        try:
            stream = await self._giver.connect()
        except trio.BrokenResourceError as error:
            raise WorkerGone("it has ended") from error
        async with stream:
            try:
                await stream.send_all(json.dumps(request).encode() + b"\n")
            except trio.BrokenResourceError as error:
                raise WorkerGone("it has ended") from error
            yield _lines(stream)

    def kill(self) -> None:
        self._process.kill()

    async def end(self, patience: float) -> int:
        """Have it end within so many seconds; the exit status.  Negative: the signal that ended it."""
        self._giver.finish()
        with trio.move_on_after(patience):
            await self._giver.ended()
            # It has closed all it had open, so it is about to be gone.
            with suppress(subprocess.TimeoutExpired):
                await trio.to_thread.run_sync(self._process.wait, LAST_PATIENCE)
        self._giver.close()
        self._process.kill()  # nothing happens where it has ended
        return await trio.to_thread.run_sync(self._process.wait)


@attrs.define(eq=False)
class Worker:
    """One of the workers, over the lives of its processes; `number` from 0.

    exit_status   of its last process; 0 while it runs
    last          what the present process said of itself last
    silent_since  when the question was put that it has not answered yet (trio's clock), if there is one
    """

    number: int
    state: str = "starting"
    restarts: int = 0
    process: WorkerProcess | None = None
    exit_status: int = 0
    last: Status | None = None
    silent_since: float | None = None
    ready: trio.Event = attrs.field(factory=trio.Event)
    over: trio.Event = attrs.field(factory=trio.Event)
    """Set once the present process has ended."""
    stopped: trio.Event | None = None
    """Once it is asked to stop: set when it has answered."""
    _departed: Status | None = None

    def began(self, process: WorkerProcess) -> None:
        self.process = process
        self.state = "starting"
        self.exit_status = 0
        self.over = trio.Event()

    def serves(self) -> None:
        self.state = "ready"
        self.ready.set()

    def ended(self, exit_status: int) -> None:
        if self.last is not None:
            gone = departed(self.last)
            self._departed = gone if self._departed is None else combined([self._departed, gone])
        self.exit_status = exit_status
        self.process = self.last = self.silent_since = None
        self.ready = trio.Event()
        self.over.set()

    async def look(self) -> None:
        """Ask for its status.  Raises WorkerGone."""
        process = self.process
        if process is None:
            return
        self.silent_since = self.silent_since or trio.current_time()
        self.take(process, await process.ask("status"))
        self.silent_since = None

    def take(self, process: WorkerProcess, answer: Any) -> None:
        """A status that a process gave, unless that has ended since."""
        if process is self.process and answer is not None:
            self.last = cattrs.structure(answer, Status)

    def status(self) -> WorkerStatus:
        return WorkerStatus(self.number, 0 if self.process is None else self.process.pid, self.state, self.restarts)

    def parts(self) -> tuple[Status | None, Status | None]:
        """What the present process said, and what is left of those before it."""
        return self.last, self._departed


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
        for line in lines:
            yield json.loads(line)

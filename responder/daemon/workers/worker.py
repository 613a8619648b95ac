"""One worker, over the lives of its processes: started, watched, ended, and started again.

    starting    a process begins, gets its sockets, and prepares and commits what is in force
    ready       it serves what is in force
    ending      its process has ended, or is killed, and is waited for
    restarting  there is no process until a pause is over
    stopped     there is no process any more

    starting   -> ready       it has committed, and that is still what is in force; otherwise it prepares once more
    starting   -> ending      it says what is wrong, says nothing for too long, has ended, or the daemon ends
    ready      -> ending      it has ended, says nothing for too long, or the daemon ends
    ending     -> restarting  its process is gone
    ending     -> stopped     its process is gone, and the daemon ends; or it could not serve when the daemon started
    restarting -> starting    the pause is over
    restarting -> stopped     the daemon ends

`Worker.keep` is the one task that changes the state, and it returns in state `stopped` only: whatever goes wrong with
a process is its end, and what follows an end is a start.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Literal, Protocol, TypeAlias

import attrs
import cattrs
import trio

from ...config.reading import Reading
from ...errors import ConfigError, ConfigErrors, NetworkError
from ...log import get_logger
from ...net.handover import Shares
from ...server.ports import Key, SharedPorts
from ...server.server import LINGER, REMEMBERED
from ..status import Status, WorkerStatus
from .combined_status import combined, departed, without_interfaces
from .process import Process, WorkerError

PING = 1.0
"""Seconds between two looks at a worker."""

HUNG = 10.0
"""Seconds after which a worker that says nothing is taken for hung, and killed."""

BIRTH = 30.0
"""Seconds that a process may take until it says something for the first time: on a loaded machine too."""

FIRST_PAUSE = 0.1
LAST_PAUSE = 30.0
"""Seconds before a worker is started again: doubled with each end in a row, until it has lived as long as the last."""

START_ATTEMPTS = 5
"""Failed first starts of a worker after which the daemon does not start."""

State: TypeAlias = Literal["starting", "ready", "ending", "restarting", "stopped"]

_log = get_logger(__name__)


@attrs.frozen(eq=False)
class Offer:
    """A configuration to serve, with every worker's sockets for it."""

    reading: Reading
    shares: Mapping[Key, Shares]


class Surroundings(Protocol):
    """What a worker needs of its parent."""

    @property
    def in_force(self) -> Offer: ...
    @property
    def ports(self) -> SharedPorts: ...
    @property
    def stopping(self) -> trio.Event: ...

    def start_process(self, number: int) -> Process:
        """Raises OSError."""


@attrs.define(eq=False)
class Worker:
    """See the top of this file.  `number` from 0.

    exit_status   of its last process; 0 while it runs
    last          what the present process said of itself last
    silent_since  when the question was put that it has not answered yet (trio's clock), if there is one
    settled       set once it was ready for the first time, or can't serve: then `failure` says why
    serving       set while it is ready
    over          set once the present process has ended
    """

    number: int
    _around: Surroundings
    state: State = attrs.field(default="starting", init=False)
    restarts: int = attrs.field(default=0, init=False)
    process: Process | None = attrs.field(default=None, init=False)
    exit_status: int = attrs.field(default=0, init=False)
    last: Status | None = attrs.field(default=None, init=False)
    silent_since: float | None = attrs.field(default=None, init=False)
    settled: trio.Event = attrs.field(factory=trio.Event, init=False)
    failure: ConfigErrors | NetworkError | None = attrs.field(default=None, init=False)
    serving: trio.Event = attrs.field(factory=trio.Event, init=False)
    over: trio.Event = attrs.field(factory=trio.Event, init=False)
    _last_words: trio.Event | None = attrs.field(default=None, init=False)
    """Once it is asked to stop: set when it has answered."""
    _overdue: bool = attrs.field(default=False, init=False)
    _departed: Status | None = attrs.field(default=None, init=False)
    _departed_at: float = attrs.field(default=0.0, init=False)

    async def keep(self) -> None:
        """Have the worker serve, by one process after the other, until the daemon ends."""
        pause, attempts = FIRST_PAUSE, 0
        while not self._around.stopping.is_set():
            began = trio.current_time()
            self.state = "starting"
            self.failure = await self._live()
            if self._around.stopping.is_set():
                break
            if not self.settled.is_set():
                attempts += 1
                if self.failure is None and attempts == START_ATTEMPTS:
                    message = f"worker {self.number} did not start: it ended {attempts} times ({self.exit_status})"
                    self.failure = NetworkError(errno.ECONNRESET, message)
                if self.failure is not None:
                    break
            if trio.current_time() - began >= LAST_PAUSE:
                pause = FIRST_PAUSE
            self.state = "restarting"
            self.restarts += 1
            _log.error(
                "a worker has ended and is started again",
                number=self.number,
                exit_status=self.exit_status,
                reason=str(self.failure or ""),
                after=pause,
            )
            with trio.move_on_after(pause):
                await self._around.stopping.wait()
            pause = min(2 * pause, LAST_PAUSE)
        self.state = "stopped"
        self.settled.set()

    async def _live(self) -> ConfigErrors | NetworkError | None:
        """One process, from its start to its end; why it could not serve, if it said so."""
        try:
            process = self._around.start_process(self.number)
        except OSError as error:
            user = self._around.in_force.reading.daemon.user
            who = f" by user {user}" if user else ""
            message = f"worker {self.number} can't be started{who}: {error.filename or 'a process'}: {error.strerror}"
            return NetworkError(error.errno or errno.ENOEXEC, message)
        self.process, self.exit_status, self.over = process, 0, trio.Event()
        refusal: ConfigErrors | NetworkError | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_at_end, process, nursery.cancel_scope)
                nursery.start_soon(kill_when_hung, process, self.number, self.look)
                refusal = await self._bring_up(process)
                if refusal is None:
                    self.state = "ready"
                    self.serving.set()
                    self.settled.set()
                    await trio.sleep_forever()
                nursery.cancel_scope.cancel()
        except* Exception as group:
            _log.error("a worker is killed after a failure of its parent", exc_info=group, number=self.number)
        finally:
            with trio.CancelScope(shield=True):
                await self._bury(process)
        return refusal

    async def _cancel_at_end(self, process: Process, scope: trio.CancelScope) -> None:
        await process.ended()
        scope.cancel()

    async def _bring_up(self, process: Process) -> ConfigErrors | NetworkError | None:
        """Have it serve what is in force, also where that changes meanwhile."""
        try:
            while True:
                offer = self._around.in_force
                self._around.ports.hold(offer.shares)
                try:
                    messages = await prepare(process, self.number, offer)
                    if messages:
                        return ConfigErrors(map(ConfigError, messages))
                    await process.ask("commit")
                finally:
                    self._around.ports.release(offer.shares)
                if offer is self._around.in_force:
                    return None
        except WorkerError as error:
            if error.answered:
                return NetworkError(errno.ECONNRESET, f"worker {self.number} did not start: {error}")
            process.kill()
            await trio.sleep_forever()  # until its end is noticed

    async def _bury(self, process: Process) -> None:
        self.state = "ending"
        self.serving = trio.Event()
        self.exit_status = await process.end()
        if self._last_words is not None:
            # It answers before it ends, but the answer may still be on its way to us.
            with trio.move_on_after(LINGER):
                await self._last_words.wait()
        if self.last is not None:
            gone = departed(self.last)
            self._departed = gone if self._departed is None else combined([self._departed, gone])
            self._departed_at = trio.current_time()
        self.process = self.last = self.silent_since = None
        self.over.set()

    # What others ask of it

    async def look(self) -> None:
        """Ask for its status.  Returns where it has ended, and where it does not serve yet."""
        process = self.process
        if process is None:
            return
        self.silent_since = self.silent_since or trio.current_time()
        try:
            self._take(process, await process.ask("status"))
        except WorkerError as error:
            if not error.answered:
                return
        if process is self.process:
            self.silent_since = None

    async def stop(self) -> None:
        """Have it say goodbye and end; called again, at once.  Keeps what it counted."""
        process = self.process
        if process is None:
            return
        if self.state == "starting":
            process.kill()  # it has nobody to say goodbye to
        elif self.state == "ready":
            answered = trio.Event()
            if self._last_words is None:
                self._last_words = answered
            process.wake()  # one that somebody has stopped (SIGSTOP) says goodbye too
            try:
                self._take(process, await process.ask("stop"))
            except WorkerError:
                pass
            finally:
                self._last_words.set()

    def kill_overdue(self) -> None:
        """End a process that did not end in time.  One that has said its goodbyes is only slow to be gone."""
        if self.process is not None:
            if self._last_words is None or not self._last_words.is_set():
                _log.error("a worker does not end though its time is over", number=self.number)
                self._overdue = True
            self.process.kill()

    def failed(self) -> bool:
        """Did it fail for good, or did its end?  To be killed by somebody else is no failure: it would be back."""
        return self.failure is not None or self._overdue or self.exit_status > 0

    def _take(self, process: Process, answer: Any) -> None:
        """A status that a process gave, unless it has ended since."""
        if process is self.process and answer is not None:
            self.last = cattrs.structure(answer, Status)

    def status(self) -> WorkerStatus:
        return WorkerStatus(self.number, 0 if self.process is None else self.process.pid, self.state, self.restarts)

    def parts(self) -> tuple[Status | None, Status | None]:
        """What the present process said, and what is left of those before it."""
        if self._departed is not None and trio.current_time() - self._departed_at >= REMEMBERED:
            # As `ServerCore` forgets interfaces that are gone.
            known = {name for counts in (self.last.counters.values() if self.last else ()) for name in counts}
            self._departed = without_interfaces(self._departed, known)
        return self.last, self._departed


async def prepare(process: Process, number: int, offer: Offer) -> list[str]:
    """Hand over the sockets, and have the process prepare; what is wrong, a message each.  Raises WorkerError."""
    await process.hand(offer.shares.values(), number)
    files = [[str(source.file), source.text] for source in offer.reading.sources]
    answer: list[str] = await process.ask("prepare", files=files)
    return answer


async def kill_when_hung(process: Process, number: int, look: Callable[[], Awaitable[object]]) -> None:
    """Ask the process from time to time, by `look`, and kill it where it says nothing."""
    patience = BIRTH
    while True:
        with trio.move_on_after(patience) as scope:
            await look()
        if scope.cancelled_caught:
            _log.error("a worker hangs and is killed", number=number, silent_for=patience)
            process.kill()
            return
        patience = HUNG
        await trio.sleep(PING)


@attrs.frozen(eq=False)
class WorkerMember:
    """A process that serves, for one reload.  Implements `responder.daemon.reload.Member`."""

    number: int
    process: Process
    offer: Offer

    async def prepare(self, _reading: Reading) -> list[str] | None:
        try:
            return await prepare(self.process, self.number, self.offer)
        except WorkerError as error:
            if error.answered:
                return [f"worker {self.number}: {error}"]
            return None  # what is started in its place serves what is in force then

    async def commit(self) -> None:
        try:
            with trio.fail_after(HUNG):
                await self.process.ask("commit")
        except (WorkerError, trio.TooSlowError) as error:
            _log.error("a worker can't change over and is killed", number=self.number, reason=str(error))
            self.process.kill()

    async def abandon(self) -> None:
        try:
            with trio.fail_after(HUNG):
                while True:
                    try:
                        await self.process.ask("abandon")
                    except WorkerError as error:
                        if not error.answered:
                            raise
                    else:
                        return
                    await trio.sleep(PING)  # no descriptor is free to ask it
        except (WorkerError, trio.TooSlowError):
            self.process.kill()


class TrialMember(WorkerMember):
    """A process that only prepares, to find out whether a configuration can be served."""

    async def prepare(self, reading: Reading) -> list[str] | None:
        async def look() -> None:
            with suppress(WorkerError):
                await self.process.ask("status")

        messages = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_when_hung, self.process, self.number, look)
            messages = await super().prepare(reading)
            nursery.cancel_scope.cancel()
        return messages

    async def commit(self) -> None:
        await trio.lowlevel.checkpoint()

"""The workers together: started, watched, reloaded and stopped as one.  `responder.daemon.workers.parent` says by which
rules.

This file refuses to open ports at the start and to take signals.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import nullcontext, suppress
from textwrap import shorten
from typing import Any, Protocol

import attrs
import trio

from ...config.divisible import undividable
from ...config.reading import Config, Reading, read, unmatched_patterns
from ...errors import ConfigError, ConfigErrors, NetworkError
from ...log import get_logger
from ...net.handover import Shares, SharingPlatform
from ...net.interface_table import InterfaceTable
from ...server.ports import Key, SharedPorts, numbers
from ...server.server import LINGER
from ..logs import set_level
from ..service_manager import Notifier
from ..status import About, Status
from .process import LAST_PATIENCE, Worker, WorkerGone, WorkerProcess
from .sums import together

PING = 1.0
"""Seconds between two looks at a worker."""

HUNG = 10.0
"""Seconds after which a worker that says nothing is taken for hung, and killed."""

DOUBTFUL = 3.0
"""Seconds of silence after which the service manager is no longer told that all is well."""

STATUS_TIMEOUT = 2.0
"""Seconds that a worker has for its part of a status: then it is what it last said."""

FIRST_DELAY = 0.1
LAST_DELAY = 30.0
"""Seconds before a worker is started again: doubled with each end in a row, until it has lived as long as the last."""

MAX_REASON = 200
"""Characters of a reason that the service manager is told."""

_log = get_logger(__name__)


class Orders(Protocol):
    """What signals order (`responder.daemon.daemon`)."""

    stop: Callable[[], None]
    reload: trio.Event


@attrs.define(eq=False)
class Team:
    """All workers, and what they serve."""

    reading: Reading
    """What is in force: a worker that is started anew gets this, whatever the file says by now."""
    about: About
    notifier: Notifier
    platform: SharingPlatform
    ports: SharedPorts = attrs.field(init=False)
    workers: tuple[Worker, ...] = attrs.field(init=False)
    _background: trio.Nursery = attrs.field(init=False)
    """Exists while `run` does."""
    _changing: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    """Held while a configuration is prepared and committed, by all or by one that is started anew."""
    _stopping: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stop_asked: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.workers = tuple(map(Worker, range(self.reading.daemon.workers)))
        self.ports = SharedPorts(len(self.workers), self.platform)

    async def open_ports(self) -> None:
        """Raises OSError, and an ExceptionGroup of BindError for ports that can't be had."""
        self.ports.take(self.ports.open(self.reading.instances, InterfaceTable(await self.platform.interfaces())))

    # Running

    async def run(self, orders: Orders) -> None:
        """Serve until stopped.  Raises ConfigErrors or NetworkError where a worker can't start."""
        async with trio.open_nursery() as self._background:
            self._background.start_soon(self._pass_on_stops)
            async with trio.open_nursery() as keepers:
                await self._start(keepers)
                if not self._stopping.is_set():
                    await self._announce("ready", ports=numbers(self.reading.instances))
                    self.notifier.ready()
                self._background.start_soon(self._reload_when_asked, orders)
                self._background.start_soon(self.notifier.watchdog, self._answers)
            self._background.cancel_scope.cancel()

    async def _start(self, keepers: trio.Nursery) -> None:
        refusals: list[ConfigErrors | NetworkError] = []

        async def start(worker: Worker) -> None:
            refusal = await keepers.start(self._keep, worker)
            if refusal is not None:
                refusals.append(refusal)

        async with trio.open_nursery() as starting:
            for worker in self.workers:
                starting.start_soon(start, worker)
        if refusals:
            # The others say the same.
            raise refusals[0]

    async def _keep(
        self,
        worker: Worker,
        *,
        task_status: trio.TaskStatus[ConfigErrors | NetworkError | None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Have the worker serve, by one process after the other, until the end.

        Has started once the first one serves or, with the reason, can't.
        """
        delay = FIRST_DELAY
        served = False

        def began() -> None:
            nonlocal served
            if not served:
                served = True
                task_status.started(None)

        while not self._stopping.is_set():
            since = trio.current_time()
            refusal = await self._live(worker, began, first=not served)
            if self._stopping.is_set():
                break
            if not served:
                task_status.started(refusal)
                return
            if trio.current_time() - since >= LAST_DELAY:
                delay = FIRST_DELAY
            worker.state = "restarting"
            worker.restarts += 1
            _log.error(
                "a worker has ended and is started again",
                number=worker.number,
                exit_status=worker.exit_status,
                reason=str(refusal or ""),
                after=delay,
            )
            with trio.move_on_after(delay):
                await self._stopping.wait()
            delay = min(2 * delay, LAST_DELAY)
        worker.state = "stopped"
        began()

    async def _live(
        self, worker: Worker, began: Callable[[], None], *, first: bool
    ) -> ConfigErrors | NetworkError | None:
        """One process of a worker, from its start to its end; why it could not serve, if so."""
        try:
            process = WorkerProcess.start(worker.number)
        except OSError as error:
            who = f" by user {user}" if (user := self.reading.daemon.user) else ""
            message = f"worker {worker.number} can't be started{who}: {error.filename or 'a process'}: {error.strerror}"
            return NetworkError(error.errno or errno.ENOEXEC, message)
        worker.began(process)
        refusal: ConfigErrors | NetworkError | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(process.cancel_at_end, nursery.cancel_scope)
                try:
                    # At the start all of them load at the same time, and no reload can come between.
                    async with nullcontext() if first else self._changing:
                        messages = await self._prepare(worker, process, self.reading, self.ports.shares)
                        if messages:
                            refusal = ConfigErrors(map(ConfigError, messages))
                        else:
                            await process.ask("commit")
                    if refusal is None:
                        worker.serves()
                        began()
                        await self._watch(worker, process)
                except WorkerGone as error:
                    refusal = NetworkError(errno.ECONNRESET, f"worker {worker.number} did not start: {error}")
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                exit_status = await process.end(self._patience())
                if worker.stopped is not None:
                    # It answers before it ends, but the answer may still be on its way to us.
                    with trio.move_on_after(LINGER):
                        await worker.stopped.wait()
            worker.ended(exit_status)
        return refusal

    async def _prepare(
        self, worker: Worker, process: WorkerProcess, reading: Reading, shares: dict[Key, Shares]
    ) -> list[str]:
        """Hand over the ports, and have it prepare; what is wrong, a message each.  Raises WorkerGone."""
        await process.hand(shares.values(), worker.number)
        answer: list[str] = await process.ask(
            "prepare", text=reading.text, file=str(reading.file), workers=len(self.workers)
        )
        return answer

    async def _watch(self, worker: Worker, process: WorkerProcess) -> None:
        """Look at a worker from time to time, and kill it where it hangs."""
        while True:
            try:
                with trio.fail_after(HUNG):
                    await worker.look()
            except trio.TooSlowError:
                _log.error("a worker hangs and is killed", number=worker.number, silent_for=HUNG)
                process.kill()
                return
            except WorkerGone:
                pass  # it ends, or has too much to do: what follows tells
            await trio.sleep(PING)

    def _patience(self) -> float:
        """Seconds that a worker may take to end: more than what it takes to end what won't, on a loaded machine too."""
        return self.reading.daemon.grace + LINGER + LAST_PATIENCE

    def _answers(self) -> bool:
        """Does every worker that runs answer, and is there one?"""
        now = trio.current_time()
        running = [worker for worker in self.workers if worker.state == "ready"]
        return bool(running) and all(
            worker.silent_since is None or now - worker.silent_since < DOUBTFUL for worker in running
        )

    # Stopping

    def stop(self) -> None:
        """Have every worker say goodbye and end; called again, at once."""
        self.notifier.stopping()
        self._stopping.set()
        self._stop_asked.set()

    async def _pass_on_stops(self) -> None:
        await self._stopping.wait()
        self._background.start_soon(self._kill_overdue)
        while True:
            await self._stop_asked.wait()
            self._stop_asked = trio.Event()
            for worker in self.workers:
                if worker.process is not None:
                    self._background.start_soon(self._stop_one, worker, worker.process)

    async def _stop_one(self, worker: Worker, process: WorkerProcess) -> None:
        answered = trio.Event()
        worker.stopped = worker.stopped or answered
        with suppress(WorkerGone):
            worker.take(process, await process.ask("stop"))
        answered.set()

    async def _kill_overdue(self) -> None:
        await trio.sleep(self._patience())
        for worker in self.workers:
            if worker.process is not None:
                _log.error("a worker does not end though its time is over", number=worker.number)
                worker.process.kill()

    # Reloading

    async def _reload_when_asked(self, orders: Orders) -> None:
        while True:
            await orders.reload.wait()
            orders.reload = trio.Event()
            await self.reload()

    async def reload(self) -> list[str]:
        """Read the configuration again and have all workers serve by it, or, where anything is wrong with it, none.

        Returns what is wrong, a message each.
        """
        async with self._changing:
            self.notifier.reloading()
            old = self.reading
            messages = await self._change()
            for message in messages:
                _log.error("the new configuration is refused", reason=message)
            if messages:
                more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
                self.notifier.status(f"reload refused: {shorten(messages[0], MAX_REASON)}{more}")
            else:
                set_level(self.reading.daemon.log)
                for key in old.daemon.needs_restart(self.reading.daemon):
                    _log.warning("this key is changed by a restart only", key=key)
                await self._announce("reloaded")
            self.notifier.ready()
            return messages

    async def _change(self) -> list[str]:
        assert self.reading.file is not None  # noqa: S101 - the embedded default has one worker
        try:
            reading = await trio.to_thread.run_sync(read, self.reading.file)
            wrong = list(reading.errors)
            if reading.daemon.workers == 1:  # which takes a restart
                wrong += undividable(reading.instances, len(self.workers))
            if wrong:
                return list(map(str, wrong))
            shares = self.ports.open(reading.instances, InterfaceTable(await self.platform.interfaces()))
        except ConfigErrors as several:
            return list(map(str, several.errors))
        except ExceptionGroup as group:
            return list(map(str, group.exceptions))
        except OSError as error:
            return [f"the interfaces can't be told: {error}"]
        prepared, messages = await self._prepare_all(reading, shares)
        if messages:
            self.ports.give_back(shares)
            return messages
        leaving, self.reading = self.ports.take(shares), reading
        async with trio.open_nursery() as nursery:
            for worker, process in prepared:
                nursery.start_soon(self._commit, worker, process)
        self._background.start_soon(self._close_later, leaving)
        return []

    async def _close_later(self, leaving: dict[Key, Shares]) -> None:
        await trio.sleep(self.reading.daemon.grace + LINGER)
        self.ports.forget(leaving)

    async def _prepare_all(
        self, reading: Reading, shares: dict[Key, Shares]
    ) -> tuple[list[tuple[Worker, WorkerProcess]], list[str]]:
        """Have every worker prepare: those that can, and what the first says that can't, which then none keeps."""
        able: list[tuple[Worker, WorkerProcess]] = []
        complaints: dict[int, list[str]] = {}

        async def prepare(worker: Worker, process: WorkerProcess) -> None:
            with suppress(WorkerGone):  # it will start with what is in force then
                if messages := await self._prepare(worker, process, reading, shares):
                    complaints[worker.number] = messages
                able.append((worker, process))

        async with trio.open_nursery() as nursery:
            for worker in self.workers:
                if worker.process is not None and worker.state == "ready":
                    nursery.start_soon(prepare, worker, worker.process)
        if not able:
            return [], ["no worker runs that could serve it"]
        if complaints:
            for _, process in able:
                with suppress(WorkerGone):
                    await process.ask("abandon")
            return [], complaints[min(complaints)]
        return able, []

    async def _commit(self, worker: Worker, process: WorkerProcess) -> None:
        try:
            with trio.fail_after(HUNG):
                await process.ask("commit")
        except (WorkerGone, trio.TooSlowError) as error:
            # It is started again with what the others serve.
            _log.error("a worker can't change over and is killed", number=worker.number, reason=str(error))
            process.kill()

    async def _announce(self, event: str, **fields: Any) -> None:
        """Say it in the log and to the service manager; warn of patterns that match no interface."""
        reading = self.reading
        names = [interface.name for interface in await self.platform.interfaces()]
        for path, pattern in unmatched_patterns(Config(reading.daemon, reading.instances, reading.file), names):
            _log.warning("no interface has such a name now", key=path, pattern=pattern)
        plugins = [instance.name for instance in reading.instances]
        _log.info(event, plugins=plugins, workers=len(self.workers), **fields)
        self.notifier.status(f"serving {', '.join(plugins)} with {len(self.workers)} workers")

    # Status

    async def status(self) -> Status:
        """The sum of all workers', each asked now."""

        async def look(worker: Worker) -> None:
            with trio.move_on_after(STATUS_TIMEOUT), suppress(WorkerGone):
                await worker.look()

        async with trio.open_nursery() as nursery:
            for worker in self.workers:
                if worker.state == "ready":
                    nursery.start_soon(look, worker)
        return self.last()

    def last(self) -> Status:
        """The same by what they said last."""
        parts = [worker.parts() for worker in self.workers]
        return together(
            self.about,
            [worker.status() for worker in self.workers],
            [present for present, _ in parts if present is not None],
            [gone for _, gone in parts if gone is not None],
        )

"""The parent of workers: it opens the ports, starts the workers, and has all of them serve one configuration.

Each worker is kept by a task of its own (`responder.daemon.workers.worker`).  What goes wrong in any task ends neither
the daemon nor another task.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import trio

from ...config.daemon_options import DaemonOptions
from ...config.divisible import undividable
from ...config.reading import Config, Reading
from ...errors import ConfigErrors, NetworkError
from ...log import get_logger
from ...net.handover import SharingPlatform
from ...net.interface_table import InterfaceTable
from ...server.ports import SharedPorts, numbers, without
from ...server.server import LINGER
from ..orders import Orders
from ..recent_datagrams import newest_first
from ..reload import Member, Reloader
from ..service_manager import ManagerLine
from ..status import About, Status
from .combined_status import together
from .process import Process, WorkerError, WorkerProcess
from .worker import Offer, TrialMember, Worker, WorkerMember

DOUBTFUL = 3.0
"""Seconds of silence after which the service manager is no longer told that all is well."""

STATUS_TIMEOUT = 2.0
"""Seconds that a worker has for its part of a status: then it is what it last said."""

OVERDUE = LINGER + 0.5
"""Seconds after the grace period at which a worker that has not ended by itself is killed."""

_log = get_logger(__name__)


@attrs.define(eq=False)
class Parent:
    """All workers, and what they serve.

    Implements `responder.daemon.reload.Host` and `responder.daemon.workers.worker.Surroundings`.
    """

    count: int
    _reading: Reading
    about: About
    notifier: ManagerLine
    _platform: SharingPlatform
    _start_process: Callable[[int, int], Process] = WorkerProcess.start
    in_force: Offer = attrs.field(init=False)
    """What a worker that is started gets, whatever the file says by now."""
    ports: SharedPorts = attrs.field(init=False)
    workers: tuple[Worker, ...] = attrs.field(init=False)
    stopping: trio.Event = attrs.field(factory=trio.Event, init=False)
    failure: ConfigErrors | NetworkError | None = attrs.field(default=None, init=False)
    """Why the daemon could not start, once `run` has returned."""
    _stop_asked: trio.Event = attrs.field(factory=trio.Event, init=False)
    _last_moment: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    """Its deadline is when workers that have not ended are killed."""
    _reloader: Reloader = attrs.field(init=False)
    _begun: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Every worker was ready once."""
    _background: trio.Nursery = attrs.field(init=False)
    """Exists while `run` does."""

    def __attrs_post_init__(self) -> None:
        self.workers = tuple(Worker(number, self) for number in range(self.count))
        self.ports = SharedPorts(self.count, self._platform)
        self.in_force = Offer(self._reading, {})
        self._reloader = Reloader(self, self.notifier, self.about.reloads, self._reading.file)

    async def open_ports(self) -> None:
        """Raises NetworkError, and an ExceptionGroup of BindError for ports that can't be had."""
        self.in_force = await self._offer(self._reading)

    async def _offer(self, reading: Reading) -> Offer:
        """A configuration with its sockets, which are held until they are released.  Raises as `open_ports`."""
        try:
            table = InterfaceTable(await self._platform.interfaces())
        except OSError as error:
            message = f"the interfaces can't be told: {error.strerror}"
            raise NetworkError(error.errno or errno.EIO, message) from error
        return Offer(reading, self.ports.open(reading.instances, table))

    def start_process(self, number: int) -> Process:
        return self._start_process(number, self.count)

    # Running

    async def run(self, orders: Orders) -> None:
        """Serve until stopped, or until it turns out that a worker can't be started: see `failure`."""
        async with trio.open_nursery() as self._background:
            self._background.start_soon(self._pass_on_stops)
            self._background.start_soon(self._kill_overdue)
            async with trio.open_nursery() as keepers:
                for worker in self.workers:
                    keepers.start_soon(worker.keep)
                for worker in self.workers:
                    await worker.settled.wait()
                if not self.stopping.is_set():
                    # The others say the same.
                    self.failure = next((each.failure for each in self.workers if each.failure is not None), None)
                    if self.failure is not None:
                        self.stop()
                    else:
                        await self._begin(orders)
            self._background.cancel_scope.cancel()

    async def _begin(self, orders: Orders) -> None:
        reading = self.in_force.reading
        config = Config(reading.daemon, reading.instances, reading.file)
        await self._reloader.announce("ready", config, ports=numbers(reading.instances), workers=self.count)
        self.notifier.ready()
        self._begun.set()
        self._background.start_soon(self._reloader.follow, orders)
        self._background.start_soon(self.notifier.watchdog, self._answers)

    def _answers(self) -> bool:
        """Does every worker that runs answer, and is there one?"""
        now = trio.current_time()
        running = [worker for worker in self.workers if worker.state == "ready"]
        return bool(running) and all(
            worker.silent_since is None or now - worker.silent_since < DOUBTFUL for worker in running
        )

    async def _guarded(self, what: str, task: Callable[[], Awaitable[object]]) -> None:
        """A background task whose failure is told, and is nobody else's."""
        try:
            await task()
        except Exception as error:
            _log.error("a background task failed", exc_info=error, task=what)

    # Stopping

    def stop(self) -> None:
        """Have every worker say goodbye and end; called again, at once."""
        self.notifier.stopping(self.options.grace)
        grace = 0.0 if self.stopping.is_set() else self.options.grace
        self._last_moment.deadline = min(self._last_moment.deadline, trio.current_time() + grace + OVERDUE)
        self.stopping.set()
        self._stop_asked.set()

    async def _pass_on_stops(self) -> None:
        while True:
            await self._stop_asked.wait()
            self._stop_asked = trio.Event()
            for worker in self.workers:
                self._background.start_soon(self._guarded, "stopping a worker", worker.stop)

    async def _kill_overdue(self) -> None:
        with self._last_moment:
            await trio.sleep_forever()
        for worker in self.workers:
            worker.kill_overdue()

    # Reloading

    async def reload(self) -> list[str]:
        """Read the configuration again and have all workers serve by it, or, where anything is wrong with it, none."""
        await self._begun.wait()
        return await self._reloader.reload()

    def waiting_for_restart(self) -> list[str]:
        return self._reloader.waiting_for_restart

    @property
    def options(self) -> DaemonOptions:
        return self.in_force.reading.daemon

    @asynccontextmanager
    async def change(self, reading: Reading) -> AsyncIterator[WorkersChange]:
        sound = not reading.errors and not undividable(reading.instances, self.count)
        # What is wrong with it every worker finds itself, and what its plugins find beside.
        offer = await self._offer(reading) if sound else Offer(reading, {})
        change = WorkersChange(self, offer)
        try:
            if not change.members():
                change.try_with_a_process_of_its_own()
            yield change
        finally:
            with trio.CancelScope(shield=True):
                await change.end_trial()
            if sound and self.in_force is not offer:
                self.ports.release(offer.shares)

    def put_in_force(self, offer: Offer) -> None:
        before, self.in_force = self.in_force, offer
        leaving = without(before.shares, offer.shares)
        self.ports.hold(leaving)
        self.ports.release(before.shares)

        async def release_later() -> None:
            await trio.sleep(self.options.grace + LINGER)
            self.ports.release(leaving)

        if not self.stopping.is_set():  # otherwise `SharedPorts.close` does it
            self._background.start_soon(release_later)

    async def interface_names(self) -> Sequence[str]:
        return [interface.name for interface in await self._platform.interfaces()]

    def in_words(self) -> str:
        names = [instance.name for instance in self.in_force.reading.instances]
        return f"serving {', '.join(names)} with {self.count} workers"

    # Status

    async def status(self) -> Status:
        """The sum of all workers', each asked now."""

        async def look(worker: Worker) -> None:
            with trio.move_on_after(STATUS_TIMEOUT):
                await self._guarded("asking a worker", worker.look)

        await self._each_ready(look)
        return self.last_status()

    async def recent(self) -> list[dict[str, Any]]:
        """Some of the last datagrams of all workers, the newest first."""
        found: list[dict[str, Any]] = []

        async def look(worker: Worker) -> None:
            with trio.move_on_after(STATUS_TIMEOUT), suppress(WorkerError):
                if worker.process is not None:
                    found.extend(await worker.process.ask("recent"))

        await self._each_ready(look)
        return newest_first(found)

    async def _each_ready(self, look: Callable[[Worker], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            for worker in self.workers:
                if worker.state == "ready":
                    nursery.start_soon(look, worker)

    def last_status(self) -> Status:
        """The same by what they said last."""
        parts = [worker.parts() for worker in self.workers]
        return together(
            self.about,
            [worker.status() for worker in self.workers],
            [present for present, _ in parts if present is not None],
            [gone for _, gone in parts if gone is not None],
        )


@attrs.define(eq=False)
class WorkersChange:
    """Implements `responder.daemon.reload.Change`."""

    _parent: Parent
    _offer: Offer
    _members: dict[Process, WorkerMember] = attrs.field(factory=dict, init=False)
    _trial: TrialMember | None = attrs.field(default=None, init=False)

    def members(self) -> list[Member]:
        ready = {worker.process: worker.number for worker in self._parent.workers if worker.state == "ready"}
        for process, number in ready.items():
            if process is not None and process not in self._members:
                self._members[process] = WorkerMember(number, process, self._offer)
        members: list[Member] = [self._members[process] for process in ready if process is not None]
        return members if self._trial is None else [*members, self._trial]

    def put_in_force(self, _config: Config) -> None:
        self._parent.put_in_force(self._offer)

    def try_with_a_process_of_its_own(self) -> None:
        """Where no worker serves, since none can, a process is started to prepare what might be served."""
        with suppress(OSError):
            self._trial = TrialMember(0, self._parent.start_process(0), self._offer)

    async def end_trial(self) -> None:
        if self._trial is not None:
            self._trial.process.kill()
            await self._trial.process.end()

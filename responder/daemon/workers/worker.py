"""One of the processes that serve when `[daemon] workers` asks for several: `python -P -m
responder.daemon.workers.worker FD NUMBER`.

It is started by `responder.daemon.workers.parent`, which hands it sockets over the descriptor FD and asks it, on
connections that come the same way, in the words of the control channel (`responder.daemon.control`) and four more:

    {"request": "prepare", "text": TOML, "file": name, "workers": count}
                              -> {"prepare": [messages]}: all that is wrong with it; empty: it could be served
    {"request": "commit"}     -> {"commit": []} once it is served
    {"request": "abandon"}    -> {"abandon": []}: what was prepared is forgotten
    {"request": "stop"}       -> {"stop": status} after the goodbyes; again: at once

Signals are the supervising process's: this one takes no notice of them, and ends with it.  It opens no port itself.
This file refuses to be started by anybody else.
"""

from __future__ import annotations

import logging
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from ... import net
from ...config.divisible import part_of
from ...config.instance import Prepared
from ...config.reading import Config, prepare_reading, read_text
from ...dispatch.observers import Observers
from ...errors import ConfigErrors
from ...log import get_logger
from ...net.handover import Handed, Taker
from ...server.server import LINGER, ServerCore, open_server
from ..control import BadRequest, ServerControl, write
from ..daemon import Daemon, end_if_stuck, exit_status, state_root
from ..logs import configure_logging
from ..service_manager import Notifier
from ..status import About

_log = get_logger(__name__)

MAX_CLIENTS = 64
"""The supervising process asks for its own clients, and on its own."""

MAX_REQUEST = 64 * 1024 * 1024
"""Bytes: a whole configuration."""

ANSWER_PATIENCE = 1.0
"""Seconds, at the end, to say what was counted."""


def main() -> None:
    descriptor, number = map(int, sys.argv[1:])
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            # Not SIG_IGN, which a program that a plugin starts would inherit.
            signal.signal(getattr(signal, name), lambda *_: None)
    configure_logging()
    for handler in logging.getLogger().handlers:
        handler.addFilter(_Named(number))
    sys.exit(trio.run(_main, descriptor))


class _Named(logging.Filter):
    """Adds to each record whose it is."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def filter(self, record: logging.LogRecord) -> bool:
        record.fields = {**(getattr(record, "fields", None) or {}), "worker": self._number}
        return True


async def _main(descriptor: int) -> int:
    handed = Handed()
    taker = Taker(descriptor, handed)
    worker = Worker(handed)
    logging.getLogger("responder").addHandler(worker.about.errors)
    taker.end_with_parent(lambda: worker.grace + 2 * LINGER)
    control = WorkerControl(worker, worker=worker, max_clients=MAX_CLIENTS, max_request=MAX_REQUEST)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.serve, taker)
        nursery.start_soon(worker.stop_with, taker)
        status = await worker.serve()
        nursery.cancel_scope.cancel()
    return status


@attrs.define(eq=False)
class Worker:
    """A server, from the first configuration that is committed on.  Implements `responder.daemon.control.Commands`."""

    handed: Handed
    about: About = attrs.field(factory=About)
    daemon: Daemon | None = attrs.field(default=None, init=False)
    """None until the first configuration is served."""
    _coming: tuple[Config, list[Prepared]] | None = attrs.field(default=None, init=False)
    """What is prepared and neither committed nor abandoned."""
    _start: trio.Event = attrs.field(factory=trio.Event, init=False)
    """There is something to serve, or an end."""
    _begun: trio.Event = attrs.field(factory=trio.Event, init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _asked_to_stop: bool = attrs.field(default=False, init=False)
    told: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Whoever asked it to stop knows what it counted."""

    @property
    def grace(self) -> float:
        return 0.0 if self.daemon is None else self.daemon.server.grace

    async def serve(self) -> int:
        """Serve from the first commit to the end; the exit status."""
        await self._start.wait()
        if self._coming is None:
            return 0
        config, prepared = self._coming
        self._coming = None
        options = config.daemon
        self.about = attrs.evolve(self.about, config=config.file)
        self.handed.use_next()
        async with open_server(
            prepared,
            platform=net.platform(self.handed),
            grace=options.grace,
            settle=options.settle,
            state_root=lambda: state_root(options),
            timing=options.metrics is not None,
        ) as server:
            daemon = Daemon(config, server, self.about, Notifier())
            daemon.apply(options)
            self.daemon = daemon
            if self._asked_to_stop:
                server.stop()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end_if_stuck, server, nursery.cancel_scope)
                nursery.start_soon(self._say_begun, server)
                await server.run()
                nursery.cancel_scope.cancel()
            self._ended.set()
            if self._asked_to_stop:  # whoever did wants to know what was counted
                with trio.move_on_after(ANSWER_PATIENCE):
                    await self.told.wait()
        return exit_status(server)

    async def _say_begun(self, server: ServerCore) -> None:
        await server.ready.wait()
        self._begun.set()

    def serving(self) -> Daemon:
        """Raises BadRequest."""
        if self.daemon is None:
            raise BadRequest("it does not serve yet")
        return self.daemon

    # Implements `Commands`

    @property
    def observers(self) -> Observers:
        return self.serving().observers

    def status(self) -> dict[str, Any]:
        return self.serving().status()

    async def reload(self) -> list[str]:
        raise BadRequest("it is the supervising process that reloads")

    # In steps, so that either all workers or none take a configuration

    async def prepare(self, text: str, file: Path, workers: int) -> list[str]:
        """Prepare all that a configuration names; what is wrong with it, a message each."""
        present = [] if self.daemon is None else [each.prepared for each in self.daemon.server.instances]
        failed = {each.instance.name for each in present if each.failure is not None}
        try:
            folder = file.absolute().parent
            reading = await trio.to_thread.run_sync(
                partial(read_text, text, file=file, folder=folder), abandon_on_cancel=True
            )
            reading = attrs.evolve(
                reading,
                daemon=attrs.evolve(reading.daemon, workers=workers),
                instances=tuple(part_of(each, workers) for each in reading.instances),
            )
            # As in a daemon without workers: at the start one that fails stops nobody, and a reload loses none.
            self._coming = await prepare_reading(
                reading, present, (lambda _name: True) if self.daemon is None else failed.__contains__
            )
        except ConfigErrors as several:
            return [str(error) for error in several.errors]
        except Exception as error:
            # A plugin's options: what runs must go on all the same.
            _log.error("the configuration can't be prepared", exc_info=error)
            return [f"{type(error).__name__}: {error}"]
        return []

    async def commit(self) -> None:
        """Serve what was prepared.  Raises ExceptionGroup of BindError for a port that was not handed over."""
        if self._coming is None:
            raise BadRequest("nothing is prepared")
        if self.daemon is None:
            self._start.set()
            await self._begun.wait()
            return
        (config, prepared), self._coming = self._coming, None
        self.handed.use_next()
        await self.daemon.server.replace(prepared)
        self.daemon.config = config
        self.daemon.apply(config.daemon)

    def abandon(self) -> None:
        self._coming = None
        self.handed.drop_next()

    async def stop(self) -> dict[str, Any] | None:
        """Say goodbye and end; called again, at once.  Returns the last status, None where nothing was served."""
        self._asked_to_stop = True
        if self.daemon is None:
            self._start_nothing()
            return None
        self.daemon.server.stop()
        await self._ended.wait()
        return self.daemon.status()

    async def stop_with(self, taker: Taker) -> None:
        """End when the supervising process has."""
        await taker.ended.wait()
        if self.daemon is None:
            self._start_nothing()
        elif not self._asked_to_stop:
            self.daemon.server.stop()
        self.told.set()

    def _start_nothing(self) -> None:
        self._coming = None
        self._start.set()


@attrs.define(eq=False)
class WorkerControl(ServerControl):
    """The answers of a worker."""

    _worker: Worker = attrs.field(kw_only=True)

    async def answer(self, stream: trio.SocketStream, request: dict[str, Any]) -> None:
        match request:
            case {"request": "prepare", "text": str(text), "file": str(file), "workers": int(workers)}:
                await write(stream, [{"prepare": await self._worker.prepare(text, Path(file), workers)}])
            case {"request": "commit"}:
                await self._worker.commit()
                await write(stream, [{"commit": []}])
            case {"request": "abandon"}:
                self._worker.abandon()
                await write(stream, [{"abandon": []}])
            case {"request": "stop"}:
                last = await self._worker.stop()
                await write(stream, [{"stop": last}])
                self._worker.told.set()
            case _:
                await super().answer(stream, request)


if __name__ == "__main__":
    main()

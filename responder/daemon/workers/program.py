"""The program that a worker runs: `python -P -m responder.daemon.workers.program FD NUMBER COUNT`.

Its parent (`responder.daemon.workers.process`) hands it sockets over the descriptor FD and asks it, on connections that
come the same way, in the words of the control channel (`responder.daemon.control`) and four more:

    {"request": "prepare", "files": [[name, TOML], ...]}: the configuration, and what it includes
                              -> {"prepare": [messages]}: all that is wrong with it; empty: it could be served
    {"request": "commit"}     -> {"commit": []} once it is served
    {"request": "abandon"}    -> {"abandon": []}: what was prepared is forgotten
    {"request": "stop"}       -> {"stop": status} after the goodbyes; again: at once

Signals are the parent's: this process takes no notice of them, and ends with its parent.  It opens no port itself.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from ... import net
from ...config.divisible import part_of, undividable
from ...config.instance import Prepared
from ...config.reading import Config, Reading, prepare_reading, read_sources
from ...config.source import Source
from ...dispatch.observers import Observation, Observers
from ...errors import ThreadUnavailable
from ...log import fields_of, get_logger
from ...net.handover import Handed, Recipient
from ...server.server import LINGER, ServerCore, open_server
from ...threads import in_thread
from ..collector import look_seldom
from ..control import BadRequest, ServerControl, write
from ..daemon import end_if_stuck
from ..logs import configure_logging
from ..member import LocalMember
from ..reload import messages_of
from ..state import instance_folder, known_state_root
from ..status import About
from ..words import Words

MAX_CLIENTS = 64
"""The parent asks for its own clients, and on its own."""

MAX_REQUEST = 64 * 1024 * 1024
"""Bytes: a whole configuration."""

_log = get_logger(__name__)

ANSWER_PATIENCE = 1.0
"""Seconds, at the end, to say what was counted."""


def main() -> None:
    descriptor, number, count = map(int, sys.argv[1:])
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            # Not SIG_IGN, which a program that a plugin starts would inherit.
            signal.signal(getattr(signal, name), lambda *_: None)
    configure_logging()
    look_seldom()
    for handler in logging.getLogger().handlers:
        handler.addFilter(_Named(number))
    try:
        status = trio.run(_main, descriptor, count)
    except ThreadUnavailable as error:
        _log.error("a worker can't start", reason=str(error))
        status = 1
    sys.exit(status)


class _Named(logging.Filter):
    """Adds to each record whose it is."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def filter(self, record: logging.LogRecord) -> bool:
        record.fields = {**fields_of(record), "worker": self._number}
        return True


async def _main(descriptor: int, count: int) -> int:
    handed = Handed()
    recipient = Recipient(descriptor, handed)
    program = Program(count, handed)
    logging.getLogger().addHandler(program.about.errors)
    recipient.end_with_parent(lambda: program.grace + 2 * LINGER)
    control = WorkerControl(program, program=program, max_clients=MAX_CLIENTS, max_request=MAX_REQUEST)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.serve, recipient)
        nursery.start_soon(program.stop_with, recipient)
        status = await program.serve()
        nursery.cancel_scope.cancel()
    return status


@attrs.define(eq=False)
class Program:
    """A server, from the first configuration that is committed on.  Implements `responder.daemon.control.Commands`."""

    count: int
    """So many workers serve together."""
    handed: Handed
    about: About = attrs.field(factory=About)
    member: LocalMember | None = attrs.field(default=None, init=False)
    """None until the first configuration is served."""
    _first: tuple[Config, list[Prepared]] | None = attrs.field(default=None, init=False)
    """The first configuration, once it is prepared."""
    _start: trio.Event = attrs.field(factory=trio.Event, init=False)
    """There is something to serve, or an end."""
    _begun: trio.Event = attrs.field(factory=trio.Event, init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _asked_to_stop: bool = attrs.field(default=False, init=False)
    told: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Its final counts were delivered to whoever asked it to stop."""

    @property
    def grace(self) -> float:
        return 0.0 if self.member is None else self.member.server.grace

    async def serve(self) -> int:
        """Serve from the first commit to the end; the exit status."""
        await self._start.wait()
        if self._first is None:
            return 0
        config, prepared = self._first
        options = config.daemon
        self.about = attrs.evolve(self.about, config=config.file)
        self.handed.use_next()
        async with open_server(
            prepared,
            platform=net.platform(self.handed),
            grace=options.grace,
            settle=options.settle,
            state_folder=partial(instance_folder, options),
            timing=options.metrics is not None,
        ) as server:
            self.member = member = LocalMember(config, server, self.about)
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
        return member.exit_status()

    async def _say_begun(self, server: ServerCore) -> None:
        await server.ready.wait()
        self._begun.set()

    def serving(self) -> LocalMember:
        """Raises BadRequest."""
        if self.member is None:
            raise BadRequest("it does not serve yet")
        return self.member

    # Implements `Commands`

    @property
    def observers(self) -> Observers:
        return self.serving().observers

    def words(self, seen: Observation) -> Words:
        return self.serving().words(seen)

    def status(self) -> dict[str, Any]:
        return self.serving().status()

    def recent(self) -> list[dict[str, Any]]:
        return self.serving().recent()

    async def reload(self) -> list[str]:
        raise BadRequest("it is the parent that reloads")

    def waiting_for_restart(self) -> list[str]:
        return []

    # In two phases, so that either all workers or none take a configuration

    async def prepare(self, files: Sequence[tuple[str, str]]) -> list[str]:
        """Prepare all that a configuration names; what is wrong with it, a message each.

        Raises BadRequest where it is not the configuration that is wrong.
        """
        messages: list[str] = []
        shortage = None
        try:
            reading = await in_thread(_read, files, abandon_on_cancel=True)
            reading = _divided(reading, self.count)
            if self.member is not None:
                messages = await self.member.prepare(reading)
            else:
                # As in a daemon without workers: at the start an instance that fails stops no other.
                self._first = await prepare_reading(reading, may_fail=lambda _name: True, state_root=known_state_root)
        except* Exception as group:
            messages, shortage = messages_of(group), group.subgroup(ThreadUnavailable)
        if shortage is not None:
            raise BadRequest(messages[0])
        return messages

    async def commit(self) -> None:
        """Serve what was prepared.  Raises BadRequest."""
        if self.member is not None:
            self.handed.use_next()
            await self.member.commit()
        elif self._first is not None:
            self._start.set()
            await self._begun.wait()
        else:
            raise BadRequest("nothing is prepared")

    async def abandon(self) -> None:
        if self.member is not None:
            await self.member.abandon()
        self.handed.drop_next()

    # Ending

    async def stop(self) -> dict[str, Any] | None:
        """Say goodbye and end; called again, at once.  Returns the last status, None where nothing was served."""
        self._asked_to_stop = True
        if self.member is None:
            self._start_nothing()
            return None
        self.member.server.stop()
        await self._ended.wait()
        return self.member.status()

    async def stop_with(self, recipient: Recipient) -> None:
        """End when the parent has."""
        await recipient.ended.wait()
        if self.member is None:
            self._start_nothing()
        elif not self._asked_to_stop:
            self.member.server.stop()
        self.told.set()

    def _start_nothing(self) -> None:
        self._first = None
        self._start.set()


def _read(files: Sequence[tuple[str, str]]) -> Reading:
    """What the parent has read, whatever the files say by now.  Raises ConfigErrors."""
    return read_sources([Source.parse(text, file=Path(name)) for name, text in files])


def _divided(reading: Reading, workers: int) -> Reading:
    """The configuration as each of so many workers serves it, whatever number it asks for: that takes a restart."""
    errors = reading.errors
    if reading.daemon.workers == 1:
        errors += tuple(undividable(reading.instances, workers))
    return attrs.evolve(
        reading,
        daemon=attrs.evolve(reading.daemon, workers=workers),
        instances=tuple(part_of(each, workers) for each in reading.instances),
        errors=errors,
    )


@attrs.define(eq=False)
class WorkerControl(ServerControl):
    """The answers of a worker."""

    _program: Program = attrs.field(kw_only=True)

    async def answer(self, stream: trio.SocketStream, request: dict[str, Any]) -> None:
        match request:
            case {"request": "prepare", "files": [[str(), str()], *_] as files}:
                await write(stream, [{"prepare": await self._program.prepare(files)}])
            case {"request": "commit"}:
                await self._program.commit()
                await write(stream, [{"commit": []}])
            case {"request": "abandon"}:
                await self._program.abandon()
                await write(stream, [{"abandon": []}])
            case {"request": "stop"}:
                last = await self._program.stop()
                await write(stream, [{"stop": last}])
                self._program.told.set()
            case _:
                await super().answer(stream, request)


if __name__ == "__main__":
    main()

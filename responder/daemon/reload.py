"""How a daemon takes another configuration while it serves: in two phases, so that all of it changes or nothing does.

    read     the file is read and checked
    prepare  every *member* makes ready what it needs.  A member is a process that serves: the daemon itself, or each
             of its workers.  What can fail, fails here
    commit   once every member is ready, the configuration is in force, and each member changes over
    abandon  where one member says what is wrong, all forget the configuration, and what runs goes on

A member that ends meanwhile stops nobody: what takes its place serves what is in force then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from textwrap import shorten
from typing import Any, Protocol

import attrs
import trio

from ..config.daemon_options import DaemonOptions
from ..config.hints import unmatched_patterns, unreachable
from ..config.reading import Config, Reading, read
from ..errors import ConfigError, ConfigErrors, ResponderError, leaves
from ..log import get_logger
from ..threads import in_thread
from .logs import set_level
from .orders import Orders
from .service_manager import ManagerLine
from .status import Reloads

MAX_REASON = 200
"""Characters of a reason that the service manager is told: it shows a line."""

_log = get_logger(__name__)


class Member(Protocol):
    """A process that serves.  After each `prepare` comes one `commit` or one `abandon`, which don't raise."""

    async def prepare(self, reading: Reading) -> list[str] | None:
        """Make ready all that can fail; what is wrong, a message each.  None: the process has ended."""

    async def commit(self) -> None:
        """Serve what was prepared."""

    async def abandon(self) -> None:
        """Forget what was prepared."""


class Change(Protocol):
    """A configuration on its way into force, for one reload."""

    def members(self) -> Iterable[Member]:
        """Those who serve now, the same objects at each call."""

    def put_in_force(self, config: Config) -> None:
        """From now on whoever begins to serve serves this.  Waits for nothing."""


class Host(Protocol):
    """What a daemon says of itself: one process that serves, or one that has workers."""

    @property
    def options(self) -> DaemonOptions:
        """The options in force."""

    def change(self, reading: Reading) -> AbstractAsyncContextManager[Change]:
        """Open what the members can't open themselves.  Raises as opening ports does."""

    async def interface_names(self) -> Sequence[str]:
        """Raises OSError."""

    def in_words(self) -> str:
        """One line for the service manager: what is served."""


@attrs.define(eq=False)
class Reloader:
    """Reads `file` again and has `host` serve it.  None: there is nothing to read."""

    host: Host
    notifier: ManagerLine
    reloads: Reloads
    file: Path | None
    waiting_for_restart: list[str] = attrs.field(factory=list, init=False)
    """The keys of the file last read that only a restart puts in force."""
    _started: DaemonOptions | None = attrs.field(default=None, init=False)
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def follow(self, orders: Orders) -> None:
        """Reload whenever it is ordered."""
        while True:
            await orders.reload()
            await self.reload()

    async def reload(self) -> list[str]:
        """Read the configuration again and serve by it.  What is wrong, a message each; then nothing has changed."""
        if self.file is None:
            return ["there is no configuration file to read again"]
        async with self._turn:
            self.notifier.reloading()
            # What is in force of the keys that a reload does not change.
            self._started = self._started or self.host.options
            try:
                config = await self._change(self.file)
            except* Exception as group:
                messages = messages_of(group)
                self.reloads.note(False)
                for message in messages:
                    _log.error("the new configuration is refused", reason=message)
                more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
                self.notifier.status(f"reload refused: {shorten(messages[0], MAX_REASON)}{more}")
            else:
                messages = []
                self.reloads.note(True)
                self.waiting_for_restart = self._started.needs_restart(config.daemon)
                for key in self.waiting_for_restart:
                    _log.warning("this key is changed by a restart only", key=key)
                await self.announce("reloaded", config)
            self.notifier.ready()
            return messages

    async def announce(self, event: str, config: Config, **fields: Any) -> None:
        """Say in the log and to the service manager what is served; warn of patterns that match no interface."""
        set_level(config.daemon.log)
        for path, reason in unreachable(config):
            _log.warning("nobody can ask", key=path, reason=reason)
        try:
            names = await self.host.interface_names()
        except OSError as error:
            _log.warning("the interfaces can't be told", reason=str(error))
        else:
            for path, pattern in unmatched_patterns(config, names):
                _log.warning("no interface has such a name now", key=path, pattern=pattern)
        _log.info(event, plugins=[instance.name for instance in config.instances], **fields)
        self.notifier.status(self.host.in_words())

    async def _change(self, file: Path) -> Config:
        """Raises whatever shows that the configuration can't be served; then it is not."""
        reading = await in_thread(read, file, abandon_on_cancel=True)
        async with self.host.change(reading) as change:
            prepared = await _prepare_all(change, reading)
            config = Config(reading.daemon, reading.instances, reading.file)
            change.put_in_force(config)  # nothing is waited for since every member was seen to be ready
            async with trio.open_nursery() as nursery:
                for member in prepared:
                    nursery.start_soon(member.commit)
        return config


async def _prepare_all(change: Change, reading: Reading) -> list[Member]:
    """The members that are ready to commit.  Raises ConfigErrors, and all abandon, where one finds a mistake."""
    prepared: list[Member] = []
    complaints: list[list[str]] = []
    asked: set[Member] = set()

    async def prepare(member: Member) -> None:
        messages = await member.prepare(reading)
        if messages:
            complaints.append(messages)
        if messages is not None:
            prepared.append(member)

    # A worker that begins to serve meanwhile serves what is in force still, so it is asked as well.
    while not complaints and (new := [member for member in change.members() if member not in asked]):
        asked.update(new)
        async with trio.open_nursery() as nursery:
            for member in new:
                nursery.start_soon(prepare, member)
    if not complaints and reading.errors:
        complaints.append([str(error) for error in reading.errors])
    if not complaints and not prepared:
        complaints.append(["no process that serves lived long enough to prepare it"])
    if complaints:
        for member in prepared:
            await member.abandon()
        # The others say the same.
        raise ConfigErrors(map(ConfigError, complaints[0]))
    return prepared


def messages_of(group: BaseExceptionGroup[Exception]) -> list[str]:
    """What was raised, a message each; logs with its traceback what is nobody's mistake in a configuration."""
    return [message for error in leaves(group) for message in _messages(error)]


def _messages(error: Exception) -> Iterable[str]:
    if isinstance(error, ConfigErrors):
        return map(str, error.errors)
    if isinstance(error, ResponderError):
        return [str(error)]
    # A plugin's options, or our own mistake: what runs must go on all the same.
    _log.error("a configuration can't be prepared", exc_info=error)
    return [f"{type(error).__name__}: {error}"]

"""A server of this process with the configuration that it serves: the member that a lone daemon and each worker has."""

from __future__ import annotations

from typing import Any

import attrs

from ..config.reading import Config, Reading, prepare_reading
from ..dispatch.observers import Observation, Observers
from ..server.server import Replacement, ServerCore
from .logs import set_level
from .query_log import QueryLog
from .recent_datagrams import RecentDatagrams
from .reload import messages_of
from .state import known_state_root
from .status import About, take
from .words import Vocabulary, Words


@attrs.define(eq=False)
class LocalMember:
    """Implements `responder.daemon.reload.Member`."""

    config: Config
    """What is in force."""
    server: ServerCore
    about: About
    _coming: tuple[Config, Replacement] | None = attrs.field(default=None, init=False)
    """What is prepared and neither committed nor abandoned."""
    _vocabulary: Vocabulary = attrs.field(init=False)
    _query_log: QueryLog = attrs.field(init=False)
    _recent: RecentDatagrams = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._vocabulary = Vocabulary(self.server)
        self._query_log = QueryLog(self.words)
        self._recent = RecentDatagrams(self.observers, self.words)
        self._apply()

    @property
    def observers(self) -> Observers:
        return self.server.observers

    def words(self, seen: Observation) -> Words:
        """What was said, in the plugin's own words."""
        return self._vocabulary.words(seen)

    def status(self) -> dict[str, Any]:
        return take(self.server, self.about).as_json()

    def recent(self) -> list[dict[str, Any]]:
        """Some of the last datagrams, the newest first."""
        return self._recent.look()

    async def prepare(self, reading: Reading) -> list[str]:
        await self.abandon()
        messages: list[str] = []
        try:
            present = [each.prepared for each in self.server.instances]
            # An instance that failed before holds up no change of the others; one that works is not lost by a reload.
            failed = {each.instance.name for each in present if each.failure is not None}
            config, prepared = await prepare_reading(reading, present, failed.__contains__, known_state_root)
            self._coming = config, self.server.prepare(prepared)
        except* Exception as group:
            messages = messages_of(group)
        return messages

    async def commit(self) -> None:
        if self._coming is not None:
            (self.config, replacement), self._coming = self._coming, None
            self.server.commit(replacement)
            self._apply()

    async def abandon(self) -> None:
        if self._coming is not None:
            (_, replacement), self._coming = self._coming, None
            self.server.abandon(replacement)

    def _apply(self) -> None:
        """Put the options into force that a reload may change."""
        options = self.config.daemon
        set_level(options.log)
        self.server.grace = options.grace
        self.observers.remove(self._query_log)
        if options.queries:
            self.observers.add(self._query_log)

    def exit_status(self) -> int:
        """1 where something failed for good while serving."""
        failed = any(each.state in ("restarting", "failed") for each in self.server.instances)
        return 1 if self.server.failed or failed else 0

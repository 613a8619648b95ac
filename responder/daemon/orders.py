"""Signals as orders to the daemon: SIGTERM, SIGINT and Ctrl-Break stop it, SIGHUP reloads its configuration."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable

import attrs
import trio

from ..log import get_logger

_log = get_logger(__name__)

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name))
RELOAD_SIGNALS = tuple(getattr(signal, name) for name in ("SIGHUP",) if hasattr(signal, name))


@attrs.define(eq=False)
class Orders:
    """What signals order.  Until there is something to stop, `stop` ends the start at once."""

    stop: Callable[[], None]
    _reload: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def follow(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number in RELOAD_SIGNALS:
                self._reload.set()
            else:
                _log.info("stopping", signal=signal.Signals(number).name)
                self.stop()

    async def reload(self) -> None:
        """Wait for the next order to reload.  Several that came meanwhile are one."""
        await self._reload.wait()
        self._reload = trio.Event()

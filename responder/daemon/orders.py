"""Signals as orders to the daemon: SIGTERM, SIGINT and Ctrl-Break stop it, SIGHUP reloads its configuration.

On Windows the end of a session is an order to stop too (`responder.net.session`).
"""

from __future__ import annotations

import atexit
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import attrs
import trio

from ..log import get_logger

_log = get_logger(__name__)

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name))
RELOAD_SIGNALS = tuple(getattr(signal, name) for name in ("SIGHUP",) if hasattr(signal, name))


def note_signals() -> list[int]:
    """From now on no such signal ends the process; those that nobody follows are added to the list.

    A second signal may come when trio follows none any more, and the process is still about to end.
    """
    noted: list[int] = []
    for number in (*STOP_SIGNALS, *RELOAD_SIGNALS):
        signal.signal(number, lambda number, _frame: noted.append(number))
    atexit.register(_ignore_signals)
    return noted


def _ignore_signals() -> None:
    """Python takes its own handlers away before the process is gone, and leaves those that ignore."""
    for number in (*STOP_SIGNALS, *RELOAD_SIGNALS):
        signal.signal(number, signal.SIG_IGN)


@attrs.define(eq=False)
class Orders:
    """What signals order.  Until there is something to stop, `stop` ends the start at once."""

    stop: Callable[[], None]
    _reload: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def follow(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            self.take(number)

    def take(self, number: int) -> None:
        """Do what a signal orders."""
        if number in RELOAD_SIGNALS:
            self.order_reload()
        else:
            self.order_stop(signal.Signals(number).name)

    def order_stop(self, reason: str) -> None:
        """Stop, for a reason that the log names."""
        _log.info("stopping", signal=reason)
        self.stop()

    def order_reload(self) -> None:
        self._reload.set()

    def from_another_thread(self) -> RemoteOrders:
        """The same, for threads that trio knows nothing of."""
        return RemoteOrders(self, trio.lowlevel.current_trio_token())

    async def reload(self) -> None:
        """Wait for the next order to reload.  Several that came meanwhile are one."""
        await self._reload.wait()
        self._reload = trio.Event()


@attrs.frozen(eq=False)
class RemoteOrders:
    """Orders from other threads than trio's; those that come after the end are lost."""

    _orders: Orders
    _token: trio.lowlevel.TrioToken

    def stop(self, reason: str) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._orders.order_stop, reason)

    def reload(self) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._orders.order_reload)

"""Tells the service manager how the daemon is: sd_notify(3) and sd_watchdog_enabled(3), without a library.

    NOTIFY_SOCKET                where the messages go; unset: nobody listens, and every method does nothing
    WATCHDOG_USEC, WATCHDOG_PID  how often (microseconds) it wants to hear from which process

A message that can't be sent is logged, and the daemon goes on.  `responder.net.inherited` takes the sockets that the
manager passes on.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, MutableMapping
from typing import Protocol

import attrs
import trio

from ..errors import NetworkError
from ..log import Repeated, get_logger, printable
from ..net import notify

STATE_TIMEOUT = 1.0
"""Seconds to wait for room for a change of state: a start whose READY=1 is lost fails.  Other messages don't wait."""

_log = get_logger(__name__)


class ManagerLine(Protocol):
    """What a daemon tells its service manager: systemd's (`Notifier`) or Windows' (`ServiceLine`)."""

    def ready(self) -> None:
        """The daemon serves: its start, or its reload, is done."""

    def reloading(self) -> None:
        """A reload begins; `ready` ends it, also one that failed."""

    def stopping(self, grace: float, /) -> None:
        """The daemon says its goodbyes, for so many seconds at most."""

    def status(self, text: str, /) -> None:
        """One line for people."""

    async def watchdog(self, healthy: Callable[[], bool] = ..., /) -> None:
        """Ping the watchdog for ever, except while `healthy` is false.  Return at once where there is no watchdog."""


@attrs.define
class Notifier:
    """The line to systemd: a `ManagerLine`.

    `address` is that of its socket, None where there is none; `watchdog_timeout` the seconds after which it takes
    silence for a hung process, None where it does not watch this one.
    """

    address: str | None = None
    watchdog_timeout: float | None = None
    _repeated: Repeated = attrs.field(factory=Repeated, init=False)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> Notifier:
        """What the manager asks for.  The variables are removed: they are not meant for programs that we start."""
        address = environ.pop("NOTIFY_SOCKET", None)
        microseconds = environ.pop("WATCHDOG_USEC", "")
        watched = environ.pop("WATCHDOG_PID", "")
        timeout = None
        if microseconds and watched in ("", str(os.getpid())):  # without a process, whoever was started
            if re.fullmatch(r"[0-9]{1,18}", microseconds) and int(microseconds) > 0:
                timeout = int(microseconds) / 1_000_000
            else:
                _log.warning("the service manager's watchdog is ignored: not a number", WATCHDOG_USEC=microseconds[:20])
        return cls(address or None, timeout)

    def ready(self) -> None:
        """The daemon serves: its start, or its reload, is done."""
        self._send("READY=1", STATE_TIMEOUT)

    def reloading(self) -> None:
        """A reload begins; `ready` ends it, also one that failed."""
        # The manager tells by the time, on CLOCK_MONOTONIC, whether this reload began after it asked for one.
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", STATE_TIMEOUT)

    def stopping(self, _grace: float) -> None:
        """The daemon says its goodbyes: the manager has a limit of its own (systemd's TimeoutStopSec)."""
        self._send("STOPPING=1", STATE_TIMEOUT)

    def status(self, text: str) -> None:
        """One line for people, which `systemctl status` shows."""
        # A newline would begin another assignment.
        self._send(f"STATUS={printable(' '.join(text.split()))}")

    async def watchdog(self, healthy: Callable[[], bool] = lambda: True) -> None:
        """Say that the event loop runs, twice in each timeout, for ever; returns at once where nobody watches.

        While `healthy` says no, nothing is said.
        """
        if self.address is None or self.watchdog_timeout is None:
            return
        while True:
            if healthy():
                self._send("WATCHDOG=1")
            # Half of it: what sd_watchdog_enabled(3) recommends.
            await trio.sleep(self.watchdog_timeout / 2)

    def _send(self, message: str, timeout: float = 0) -> None:
        if self.address is None:
            return
        try:
            notify.send(self.address, message, timeout=timeout)
        except NetworkError as error:
            held_back = self._repeated.due(error.errno)
            if held_back is not None:
                _log.warning("the service manager can't be told", reason=error.strerror, held_back=held_back)

"""A number that grows with each start, also over restarts: SSDP's BOOTID.UPNP.ORG, WS-Discovery's InstanceId.

It starts as the seconds since 1970, or as one more than the last one where that is larger.  So it grows by the kept
number where the clock went back, and by the clock where the kept number was lost.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from responder import ConfigError, get_logger

from .kept_file import write_whole

MAX: Final = 2**31 - 1
"""UDA 2.0 section 1.2.2 has 31 bits; DPWS has 32."""

_log = get_logger(__name__)


class BootNumber:
    """The number, larger than any that this instance had before.

    name    the file that keeps it
    folder  gives the folder of that file; where there can't be one, a warning says so
    clock   tells the seconds since 1970
    """

    def __init__(self, name: str, folder: Callable[[], Path], clock: Callable[[], float]) -> None:
        self._name = name
        self._file: Path | None = None
        last = -1
        try:
            self._file = folder() / name
            last = _read(self._file)
        except (ConfigError, OSError) as error:
            self._give_up(error)
        # The mask: after 2038 the kept number is all there is to go by.
        self.value = max(_after(last), int(clock()) & MAX)
        self._keep()

    def advance(self) -> None:
        """Take the next number."""
        self.value = self.next
        self._keep()

    @property
    def next(self) -> int:
        """The value after `advance`."""
        return _after(self.value)

    def _keep(self) -> None:
        if self._file is None:
            return
        try:
            write_whole(self._file, f"{self.value}\n")
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._file = None
        _log.warning("restarts are told apart by the clock alone", cannot_be_kept=self._name, reason=str(error))


def _after(value: int) -> int:
    return value + 1 if value < MAX else 1


def _read(file: Path) -> int:
    """The number that was last in use; -1 where there is none.  Raises OSError."""
    try:
        value = int(file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return -1
    return value if 0 <= value <= MAX else -1

"""BOOTID.UPNP.ORG: a number that grows with each start and with each change of addresses, also over restarts.

UDA 2.0 section 1.2.2: 31 bits, the same in all messages until the device says otherwise (NEXTBOOTID, section 1.2.4).
It starts as the seconds since 1970, which that section proposes, or as one more than the last where that is larger: so
it grows where the clock went back, by what is kept, and where that was lost, by the clock.  This file refuses to send.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from responder import ConfigError

MAX_BOOT_ID: Final = 2**31 - 1

_log = logging.getLogger(__name__)


class BootId:
    """The number, larger than any that this instance had before.

    `folder` gives the folder to keep it in; where that can't be, a warning says so.  `clock`: seconds since 1970.
    """

    def __init__(self, folder: Callable[[], Path], clock: Callable[[], float]) -> None:
        self._file: Path | None = None
        last = -1
        try:
            self._file = folder() / "boot-id"
            last = _read(self._file)
        except (ConfigError, OSError) as error:
            self._give_up(error)
        # The mask: after 2038 what is kept is all there is to go by.
        self.value = max(_after(last), int(clock()) & MAX_BOOT_ID)
        self._keep()

    def advance(self) -> None:
        """Take the next number."""
        self.value = self.next
        self._keep()

    @property
    def next(self) -> int:
        """What `advance` will make it."""
        return _after(self.value)

    def _keep(self) -> None:
        if self._file is None:
            return
        new = self._file.with_suffix(".new")
        try:
            new.write_text(f"{self.value}\n", encoding="ascii")
            os.replace(new, self._file)  # whole or not at all
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._file = None
        _log.warning("the boot id can't be kept, so restarts are told apart by the clock alone: %s", error)


def _after(value: int) -> int:
    return value + 1 if value < MAX_BOOT_ID else 1


def _read(file: Path) -> int:
    """The number that was last in use; -1 where there is none, or something else.  Raises OSError."""
    try:
        value = int(file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return -1
    return value if 0 <= value <= MAX_BOOT_ID else -1

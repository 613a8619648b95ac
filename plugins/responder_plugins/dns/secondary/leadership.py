"""Several processes that serve the same zones (`workers`): one leads, the others follow.

The leader alone asks primaries and writes copies.  It tells the others of which zones there is news; they tell it which
NOTIFY messages came to them.  Both are files in the folder of the copies, looked at once a second.  Who leads holds a
lock, which ends with its process: then another one leads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeVar

import trio

from responder import FileLock, IPAddress, Repeated, get_logger

from ...shared.threads import in_thread
from .board import Board

LOOK: Final = 1.0
"""Seconds between two looks at what other processes tell."""

T = TypeVar("T")

_log = get_logger(__name__)


class Leadership:
    """This process among those with the same folder; without a folder it is alone, and leads.

    The names of the files begin with `prefix`, so that several leaderships can share a folder.
    """

    def __init__(self, folder: Path | None, instance: str, prefix: str = "") -> None:
        self.leads = folder is None
        self._instance = instance
        self._repeated = Repeated(clock=trio.current_time)
        if folder is not None:
            self._lock = FileLock(folder / f"{prefix}lead")
            self._news = Board(folder / f"{prefix}news")
            self._calls = Board(folder / f"{prefix}calls")
        self._is_alone = folder is None

    async def lead(self) -> bool:
        """Try to lead; does it now?"""
        if not self.leads and self._lock.acquire(wait=False):
            self.leads = True
            await self._do(self._news.begin)
            await self._do(self._calls.begin)
        return self.leads

    def resign(self) -> None:
        if self.leads and not self._is_alone:
            self._lock.release()

    async def tell(self, origin: bytes) -> None:
        """There is news of a zone."""
        if self.leads and not self._is_alone:
            await self._do(partial(self._news.add, [origin.hex()]))

    async def news(self) -> tuple[list[bytes], bool]:
        """The zones that there is news of since the last time; and whether there may be of others, as at the first."""
        lines, missed = await self._do(self._news.read) or ([], False)
        return [bytes.fromhex(line) for line in lines], missed

    def call(self, origin: bytes, peer: IPAddress, destination: IPAddress | None) -> None:
        """A NOTIFY came to this process, which does not lead."""
        line = json.dumps([origin.hex(), str(peer), None if destination is None else str(destination)])
        try:
            self._calls.add([line])
        except OSError as error:
            self._fails(error)

    async def calls(self) -> list[tuple[bytes, IPAddress, IPAddress | None]]:
        """The NOTIFY messages that came to other processes since the last call: zone, sender, address asked."""
        if self._is_alone:
            return []
        lines, _ = await self._do(self._calls.read) or ([], False)
        return [
            (bytes.fromhex(origin), ip_address(peer), None if destination is None else ip_address(destination))
            for origin, peer, destination in map(json.loads, lines)
        ]

    async def _do(self, do: Callable[[], T]) -> T | None:
        try:
            return await in_thread(do)
        except OSError as error:
            self._fails(error)
            return None

    def _fails(self, error: OSError) -> None:
        if self._repeated.due("") is not None:
            _log.warning("other processes can't be told", plugin=self._instance, reason=str(error))

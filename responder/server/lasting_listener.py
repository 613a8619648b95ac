"""A TCP port that stays: where its listening socket fails for good, another is opened in its place.

That is tried after a delay as for a plugin's `run` that crashes, or at once by a reload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio

from ..datagram import IPAddress
from ..errors import BindError, NetworkError
from ..log import get_logger
from ..net.types import Accepted, CountingSocket, StreamListener
from .supervisor import FIRST_DELAY, LAST_DELAY

_log = get_logger(__name__)


class LastingListener:
    """A `responder.net.types.StreamListener` whose `accept` raises no NetworkError.

    `open_` opens the listener of a port, at first that of `number`, and raises BindError, which goes on to the caller
    here.  `failed` is set for as long as nothing can be accepted.
    """

    def __init__(self, open_: Callable[[int], StreamListener], number: int) -> None:
        self._open = open_
        self._listener = open_(number)
        self._hop_limit: int | None = None
        self._began: float | None = None
        self._delay = FIRST_DELAY
        self._closed = False
        self._wanted = trio.Event()
        self.failed = False
        self.port: int = self._listener.port

    def __repr__(self) -> str:
        return repr(self._listener)

    @property
    def address(self) -> IPAddress | None:
        return self._listener.address

    @property
    def counts(self) -> Mapping[str, int]:
        return self._listener.counts if isinstance(self._listener, CountingSocket) else {}

    def limit_hops(self, hop_limit: int) -> None:
        self._hop_limit = hop_limit
        if not self.failed:
            self._listener.limit_hops(hop_limit)

    async def accept(self) -> Accepted:
        while True:
            if self._began is None:
                self._began = trio.current_time()
            try:
                return await self._listener.accept()
            except NetworkError as error:
                _log.error("a port can no longer accept connections", exc_info=error, port=self.port)
            await self._open_again(FIRST_DELAY if trio.current_time() - self._began >= LAST_DELAY else self._delay)

    async def _open_again(self, delay: float) -> None:
        self.failed, self._began = True, None
        self._listener.close()
        while self.failed:
            self._wanted = trio.Event()
            with trio.move_on_after(delay):
                await self._wanted.wait()
            if self._closed:
                raise trio.ClosedResourceError
            self._delay = delay = min(2 * delay, LAST_DELAY)
            try:
                self._listener = self._open(self.port)
            except BindError as error:
                _log.error("a port can't be opened again", port=self.port, reason=str(error), delay=delay)
            else:
                self.failed = False
        if self._hop_limit is not None:
            self._listener.limit_hops(self._hop_limit)
        _log.info("a port accepts connections again", port=self.port)

    def open_now(self) -> None:
        """Where it failed: try to open it again at once."""
        self._wanted.set()

    def close(self) -> None:
        self._closed = True
        self._wanted.set()
        self._listener.close()

"""What stands for the UDP socket of a port that has TCP alone: it holds no number, and nothing comes by it.

So ports of both kinds go the same way through the server.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

import trio

from ..datagram import Interface, IPAddress
from ..errors import SendError
from .types import AnswerUsual, Membership, Message, Received


class NoDatagrams:
    """A `responder.net.types.DatagramSocket` of a port without UDP."""

    kernel_drops = 0
    receive_buffer: int | None = None
    raise_send_buffer_by: str | None = None
    answer: AnswerUsual | None = None

    def __init__(self, port: int, address: IPAddress | None) -> None:
        self.port = port
        self.address = address
        self._closed = trio.Event()

    def __repr__(self) -> str:
        return f"<no UDP on port {self.port}>"

    async def wait_readable(self) -> None:
        """Wait until it is closed.  Raises trio.ClosedResourceError."""
        await self._closed.wait()
        raise trio.ClosedResourceError

    def receive(self, limit: int) -> Sequence[Received]:
        return ()

    def send(self, batch: Sequence[Message]) -> int:
        raise self._refusal()

    async def send_when_ready(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        raise self._refusal()

    def _refusal(self) -> SendError:
        return SendError(errno.EPROTONOSUPPORT, f"port {self.port} has no UDP")

    def join(self, membership: Membership, interface: Interface) -> None:
        raise OSError(errno.EPROTONOSUPPORT, f"port {self.port} has no UDP")

    def leave(self, membership: Membership, interface: Interface | None) -> None:
        raise OSError(errno.EPROTONOSUPPORT, f"port {self.port} has no UDP")

    def close(self) -> None:
        self._closed.set()

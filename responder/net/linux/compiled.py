"""Linux's UDP socket by the compiled module `_native`: what `batched.py` does, for less.

The module makes the received objects and fills what is sent; this file gives it the meaning of bytes, and gives its
errors their names.  It refuses to know addresses: `udp.decode_sender` and `encode_name` do.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Sequence

from ...bounded import Memory
from ...datagram import IPAddress
from ...errors import NetworkError, SendError
from .. import cmsg
from ..types import Flow, Message, Received, Route

if sys.platform != "linux":  # mypy leaves out what follows
    raise ImportError("Linux only")

from ..posix.udp import PASSED_OVER, PAYLOAD_SIZE, TABLE_SIZE, refusal
from ._native import Native
from .udp import LinuxSocket, advance_drops, decode_sender, encode_name, hop_limit_of, timestamp_of

CONTROL_SIZE = 256
"""Bytes: what we ask for takes 184."""

_ABI = cmsg.LINUX_64 if struct.calcsize("P") == 8 else cmsg.LINUX_32
_SENDER = 20
"""Bytes of sin6_addr and sin6_scope_id."""


class NativeReceived(Received):
    """See `responder.net.types.Received`.  `control` are the raw control messages."""

    __slots__ = ("control",)

    control: bytes

    def read_hop_limit(self) -> int | None:
        return hop_limit_of(list(_ABI.parse(self.control)))

    def read_timestamp(self) -> float | None:
        return timestamp_of(list(_ABI.parse(self.control)))


def _decode(raw: bytes) -> Flow:
    return decode_sender(raw[:_SENDER], raw[_SENDER:])


def _encode(route: Route) -> bytes:
    return b"".join(encode_name(route, _ABI))


def native() -> Native:
    """The memory that the sockets of a thread share."""
    # The module remembers ways where their hash says, one driving out another; a flow must stay the same all the same.
    return Native(NativeReceived, Memory(_decode, TABLE_SIZE).find, PAYLOAD_SIZE, CONTROL_SIZE)


class NativeSocket(LinuxSocket):
    """A dual-stack socket.  `memory` may be shared with others of the same thread."""

    def __init__(self, sock: socket.socket, address: IPAddress | None, memory: Native) -> None:
        super().__init__(sock, address)
        self._memory = memory
        self._encoded: Memory[Route, bytes] = Memory(_encode, TABLE_SIZE)

    def receive(self, limit: int) -> Sequence[Received]:
        descriptor, memory = self._socket.fileno(), self._memory
        for _ in range(limit):
            got = memory.receive(descriptor, limit)
            if isinstance(got, list):
                if memory.drops >= 0:
                    self.kernel_drops = advance_drops(self.kernel_drops, memory.drops)
                return got
            if got == errno.EAGAIN:
                break
            if got not in PASSED_OVER:
                raise NetworkError(got, f"UDP port {self.port} can't receive: {os.strerror(got)}")
        return ()

    def send(self, batch: Sequence[Message]) -> int:
        descriptor, send, encoded = self._socket.fileno(), self._memory.send, self._encoded
        sent = 0
        while sent < len(batch):
            try:
                count = send(descriptor, batch, sent, encoded.known, encoded.missed)
            except (SendError, TypeError, ValueError):
                if sent:
                    break
                raise
            if count <= 0:
                if sent or count in (0, -errno.EAGAIN):
                    break
                raise refusal(OSError(-count, os.strerror(-count)), batch[0])
            sent += count
        return sent

"""Linux's UDP socket with the compiled module `_native`: the usual case of a burst without Python in between.

All that is not the usual case is `udp.py`'s.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import attrs

from ...bounded import Memory
from ...datagram import IPAddress
from ...errors import NetworkError
from ...log import get_logger
from .. import cmsg
from ..types import Asking, Flow, Received, Route

if sys.platform != "linux":  # mypy leaves out what follows
    raise ImportError("Linux only")

from ..posix.udp import PASSED_OVER, PAYLOAD_SIZE, TABLE_SIZE
from . import _native
from .udp import LinuxSocket, advance_drops, decode_sender, encode_name

_log = get_logger(__name__)

SOURCE = Path(__file__).with_name("_native.c")

CONTROL_SIZE = 256
"""Bytes: what we ask for takes 184."""

_ABI = cmsg.LINUX_64 if struct.calcsize("P") == 8 else cmsg.LINUX_32
_SENDER = 20
"""Bytes of sin6_addr and sin6_scope_id."""


def is_stale(source: Path = SOURCE) -> bool:
    """Was the module built from another source than the one that stands beside it?  It is then to be built again."""
    if not source.exists() or hashlib.sha256(source.read_bytes()).hexdigest() == _native.source:
        return False
    _log.warning("the compiled module is older than its source, and not used: python .build/native.py builds it")
    return True


def _decode(raw: bytes) -> Flow:
    return decode_sender(raw, raw[_SENDER:])


def _encode(route: Route) -> bytes:
    return b"".join(encode_name(route, _ABI))


@attrs.define(eq=False)
class SharedMemory:
    """The memory that the sockets of a thread share, made at the first answer, which tells which classes to make and
    read."""

    _memory: _native.Memory | None = attrs.field(default=None, init=False)

    def for_port(self, port: Asking) -> _native.Memory:
        if self._memory is None:
            # The module remembers flows where their hash says, one driving out another; a flow must stay the same all
            # the same, as long as this table holds it.
            find = Memory(_decode, TABLE_SIZE).find
            self._memory = _native.Memory((Received, Flow, *port.shapes), find, PAYLOAD_SIZE, CONTROL_SIZE)
        return self._memory


class CompiledSocket(LinuxSocket):
    """A dual-stack socket that is also a `responder.net.types.AnsweringSocket`."""

    def __init__(self, sock: socket.socket, address: IPAddress | None, shared: SharedMemory) -> None:
        super().__init__(sock, address)
        self._shared = shared

    def answer(self, limit: int, port: Asking, decisions: dict[Flow, Any], moment: tuple[float, float], /) -> int:
        memory = self._shared.for_port(port)
        for _ in range(limit):
            count, drops = memory.answer(self._socket.fileno(), limit, port, decisions, moment, _encode)
            if drops >= 0:
                self.kernel_drops = advance_drops(self.kernel_drops, drops)
            if count >= 0:
                return count
            if count == -errno.EAGAIN:
                break
            if -count not in PASSED_OVER:
                raise NetworkError(-count, f"UDP port {self.port} can't receive: {os.strerror(-count)}")
        return 0

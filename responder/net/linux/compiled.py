"""Linux's UDP socket with the compiled module `_native`: the usual case of a burst without Python in between.

All that is not the usual case is `udp.py`'s.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import itertools
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from ...errors import NetworkError
from ...log import get_logger
from .. import cmsg
from ..types import Flow, Received, Route

if sys.platform != "linux":  # mypy leaves out what follows
    raise ImportError("Linux only")

from ..posix.udp import PASSED_OVER, PAYLOAD_SIZE
from . import _native
from .udp import LinuxSocket, advance_drops, decode_raw_flow, encode_name

_log = get_logger(__name__)

SOURCE = Path(__file__).with_name("_native.c")

CONTROL_SIZE = 256
"""Bytes: what we ask for takes 184."""

_ABI = cmsg.LINUX_64 if struct.calcsize("P") == 8 else cmsg.LINUX_32


def is_stale(source: Path = SOURCE) -> bool:
    """Was the module built from another source than the one that stands beside it?  It is then to be built again."""
    if not source.exists() or hashlib.sha256(source.read_bytes()).hexdigest() == _native.source:
        return False
    _log.warning("the compiled module is older than its source, and not used: python .build/native.py builds it")
    return True


def _encode(route: Route) -> bytes:
    return b"".join(encode_name(route, _ABI))


MemoryFor: TypeAlias = Callable[[tuple[type, ...]], _native.Memory]


def shared_memory() -> MemoryFor:
    """Gives the memory that the sockets of a thread share, made at the first call with the classes of a port."""

    @functools.cache
    def memory_for(shapes: tuple[type, ...]) -> _native.Memory:
        return _native.Memory((Received, Flow, *shapes), decode_raw_flow, PAYLOAD_SIZE, CONTROL_SIZE)

    return memory_for


_numbers = itertools.count(1)


class Answering:
    """Answers the usual datagrams of a dual-stack socket: see `responder.net.types.AnswerUsual`."""

    def __init__(self, sock: LinuxSocket, memory_for: MemoryFor) -> None:
        self._socket = sock
        self._memory_for = memory_for
        self._memory: _native.Memory | None = None
        # By which the memory, that several sockets share, tells whose flows it remembers: another socket may have the
        # same descriptor later.
        self._number = next(_numbers)

    def __call__(self, limit: int, port: Any, now: float, wall: float, /) -> int:
        sock = self._socket
        memory = self._memory = self._memory_for(port.shapes)
        for _ in range(limit):
            count, drops, received, sent = memory.answer(
                sock.fileno(), limit, self._number, sock.has_segments, port, now, wall, _encode
            )
            traffic = port.traffic
            traffic["received"] += received
            traffic["sent"] += sent
            if drops >= 0:
                sock.kernel_drops = advance_drops(sock.kernel_drops, drops)
            if count >= 0:
                return count
            if count == -errno.EAGAIN:
                break
            if -count not in PASSED_OVER:
                raise NetworkError(-count, f"UDP port {sock.port} can't receive: {os.strerror(-count)}")
        return 0

    def forget(self) -> None:
        if self._memory is not None:
            self._memory.forget()

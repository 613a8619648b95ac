"""Buffers on macOS and FreeBSD, by the rules of their `sbreserve`: what is refused, asked for instead, and told."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("POSIX only", allow_module_level=True)

from responder.net.bsd.abi import FREEBSD, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET
from responder.net.bsd.platform import BsdPlatform


class FakeSocket:
    """A new UDP socket under `kern.ipc.maxsockbuf`; the first buffers are FreeBSD's."""

    maxsockbuf = 2 * 1024 * 1024

    def __init__(self, *_: object) -> None:
        self.sizes = {SO_RCVBUF: 42080, SO_SNDBUF: 9216}

    def setsockopt(self, level: int, option: int, value: int) -> None:
        if level == SOL_SOCKET and option in self.sizes:
            if value > self.maxsockbuf * 2048 // (256 + 2048):
                raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
            self.sizes[option] = value

    def getsockopt(self, _level: int, option: int) -> int:
        return self.sizes[option]

    def setblocking(self, _flag: bool) -> None: ...


def opened(monkeypatch: pytest.MonkeyPatch, maxsockbuf: int, platform: BsdPlatform | None = None) -> tuple[int, int]:
    """A socket's buffers, to receive and to send in."""
    monkeypatch.setattr(FakeSocket, "maxsockbuf", maxsockbuf)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", FakeSocket)
        sock: Any = (platform or BsdPlatform(FREEBSD))._new_socket(socket.SOCK_DGRAM, 4, shared=False)
    return sock.sizes[SO_RCVBUF], sock.sizes[SO_SNDBUF]


def test_a_smaller_receive_buffer_is_told_once_with_its_cost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    platform = BsdPlatform(FREEBSD)
    for _ in range(2):
        assert opened(monkeypatch, 2 * 1024 * 1024, platform) == (1024 * 1024, 128 * 1024)
    assert caplog.messages == [
        "the kernel gives less receive buffer than asked asked=4194304 given=1048576 "
        "cost=more of what comes in a burst is lost raise_it_by=sysctl kern.ipc.maxsockbuf=4718592"
    ]


def test_what_is_told_gives_all_of_it(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert opened(monkeypatch, 4718592) == (4 * 1024 * 1024, 128 * 1024)
    assert caplog.messages == []
    assert opened(monkeypatch, 4718591)[0] < 4 * 1024 * 1024


def test_no_buffer_is_made_smaller_and_what_is_there_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert opened(monkeypatch, 40_000) == (42080, 32768)
    _, send = caplog.messages
    assert send.startswith("the kernel gives less send buffer than asked asked=131072 given=32768 ")
    assert "cost=longer answers can't be sent raise_it_by=sysctl kern.ipc.maxsockbuf=147456" in send

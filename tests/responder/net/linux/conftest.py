"""Sockets for the tests of the compiled module."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from ..support import PATIENCE


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A dual-stack socket as the platform sets it up."""
    from responder.net.linux.platform import LinuxPlatform  # noqa: PLC0415 - can be imported on Linux only

    with closing(LinuxPlatform().open_udp(0)) as opened:
        yield opened._socket


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.settimeout(PATIENCE)
        yield sock

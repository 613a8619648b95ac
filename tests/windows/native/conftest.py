"""These tests run in a Windows Python (see tests/windows/test_native.py), and are not collected anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

if sys.platform != "win32":
    collect_ignore_glob = ["*"]
else:
    from .support import Socket

    @pytest.fixture
    def open_socket() -> Iterator[Callable[..., Socket]]:
        """Makes `Socket`s, which are closed at the end."""
        opened: list[Socket] = []

        def opening(*args: Any, **options: Any) -> Socket:
            opened.append(Socket(*args, **options))
            return opened[-1]

        yield opening
        for sock in opened:
            sock.close()

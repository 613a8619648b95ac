"""Fixtures: a Windows Python, and a Windows that it runs on, for the tests of plugins there."""

from __future__ import annotations

from tests.windows.conftest import machine, windows

__all__ = ["machine", "windows"]

"""Queries to the plugin `dns`, as its own tests of hostile wire judge the answers."""

from __future__ import annotations

from tests.plugins.dns.message.test_wire import SEEDS, answered

__all__ = ["SEEDS", "answered"]

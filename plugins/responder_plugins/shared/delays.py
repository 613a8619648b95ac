"""Delays that are chosen by chance, so that hosts don't speak all at once: for llmnr, mdns, ssdp and wsd."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeAlias

Uniform: TypeAlias = Callable[[float, float], float]
"""Chooses a delay between two bounds (seconds)."""


def by_chance() -> Uniform:
    """One with a sequence of its own."""
    return Random().uniform  # noqa: S311 - spreads load, keeps no secret

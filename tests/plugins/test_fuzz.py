"""A bounded part of what `python -m tests.plugins.fuzz` does for as long as wanted."""

from __future__ import annotations

import importlib
import random
from pathlib import Path

import pytest

from .fuzz import mutated

TARGETS = sorted(path.parent.name for path in Path(__file__).parent.glob("*/fuzz_target.py"))
COUNT = 5_000


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_messages(name: str) -> None:
    target = importlib.import_module(f"tests.plugins.{name}.fuzz_target")
    assert all(isinstance(target.answered(seed), bytes | None) for seed in target.SEEDS)
    assert any(target.answered(seed) for seed in target.SEEDS)
    rng = random.Random(1)  # noqa: S311 - to be repeated
    for _ in range(COUNT):
        target.answered(mutated(rng, target.SEEDS))

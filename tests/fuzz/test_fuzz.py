"""A bounded part of what `python -m tests.fuzz` does for as long as wanted."""

from __future__ import annotations

import importlib
import random
import sys

import pytest

from . import target_control
from .__main__ import HERE, TARGETS
from .mutation import mutated

OWN = [name for name, module in TARGETS.items() if module.startswith("tests.fuzz.")]
"""Those that stand here."""

COUNT = 300
"""Inputs of each target: a second at most."""


def test_all_targets_are_known() -> None:
    assert len(OWN) == len(list(HERE.glob("target_*.py")))
    own = {"dns", "zone_file", "ssdp", "llmnr", "nbns", "wsd", "sntp", "stun", "tftp", "coap"}
    assert own | {"http", "control", "toml"} <= set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs(name: str) -> None:
    if name == "kernel" and sys.platform != "linux":
        pytest.skip("Linux only")
    target = importlib.import_module(TARGETS[name])
    answers = [target.answered(seed) for seed in target.SEEDS]
    assert any(answers)
    rng = random.Random(1)  # noqa: S311 - to be repeated
    for _ in range(COUNT):
        target.answered(mutated(rng, target))


def test_what_the_control_channel_only_logs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_self: object) -> None:
        raise KeyError

    monkeypatch.setattr(target_control.Commands, "status", fails)
    with pytest.raises(ExceptionGroup):
        target_control.answered(b'{"request": "status"}\n')

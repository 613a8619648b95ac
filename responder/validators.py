"""Validators of attrs fields, for what services and replies may have; each raises ValueError with the field's name."""

from __future__ import annotations

from typing import Any

import attrs


def is_port(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    """A port, or 0 for one that the system chooses."""
    if not 0 <= value <= 0xFFFF:
        raise ValueError(f"{attribute.name}: expected a port (0..65535), got {value}")


def has_transport(instance: Any, attribute: attrs.Attribute[bool], value: bool) -> None:
    """Of a service: it has UDP or TCP, and UDP where it has groups."""
    if not value and (not instance.tcp or instance.groups):
        why = "with groups" if instance.groups else "without TCP"
        raise ValueError(f"{attribute.name}: a service {why} needs it")


def is_bound(_instance: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    """None or 0, no bound, or a positive number."""
    if value is not None and not 0 <= value < float("inf"):
        raise ValueError(f"{attribute.name}: expected 0 (no bound) or more, got {value}")


def is_count(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    """1 or more."""
    if type(value) is not int or value < 1:
        raise ValueError(f"{attribute.name}: expected 1 or more, got {value!r}")


def is_duration(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    """A number of seconds, more than 0."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{attribute.name}: expected more than 0 seconds, got {value}")


def is_hop_limit(_instance: object, attribute: attrs.Attribute[int | None], value: int | None) -> None:
    """None, or what a packet that is to leave may have in its header's field."""
    # The type too: a plugin's mistake must show where it is made, not where it is sent.
    if value is not None and not (type(value) is int and 1 <= value <= 0xFF):
        raise ValueError(f"{attribute.name}: expected 1..255, got {value!r}")

"""What types of options are called, and which can't be any."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from responder import Duration, Size
from responder.config.type_names import example_of, type_name, unsupported
from responder.datagram import IPAddress, IPNetwork


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    "type_", [bytes, complex, set[int], tuple[int, str], dict[int, str], list[bytes], Any, object, Callable]
)
def test_types_that_no_option_can_have(type_: Any) -> None:
    cls = attrs.make_class("Options", {"key": attrs.field(type=type_)})
    assert len(list(unsupported(cls))) == 1
    nested = attrs.make_class("Outer", {"inner": attrs.field(type=tuple[cls, ...])})  # type: ignore[valid-type] # made at run time
    assert list(unsupported(nested)) == list(unsupported(cls))


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        (dict[str, list[IPAddress]], "table of arrays of IP addresses"),
        (tuple[IPNetwork, ...], "array of IP prefixes"),
        (Colour | None, "'red' or 'blue'"),
        (tuple[int | str, ...], "array of integers or strings"),
        (Duration, "duration"),
        (tuple[Size, ...], "array of sizes"),
    ],
)
def test_type_names(type_: Any, name: str) -> None:
    assert type_name(type_) == name


@pytest.mark.parametrize(
    ("type_", "example"),
    [
        (Duration, "30s"),
        (tuple[IPAddress, ...], ["192.0.2.1"]),
        (Colour, "red"),
        (dict[str, IPNetwork | None], {"name": "192.0.2.0/24"}),
    ],
)
def test_examples(type_: Any, example: object) -> None:
    assert example_of(type_) == example

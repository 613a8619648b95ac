"""Options with units: durations and sizes, as an operator writes them and as a plugin gets them."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder import ConfigErrors, Duration, IPAddress, IPNetwork, Plugin, Service, Size
from responder.config.structuring import structure


@attrs.frozen
class Limits:
    idle: Duration = 10.0
    most: Size = 512


@attrs.frozen
class Store(Plugin):
    """Options of every kind with a unit, nested too."""

    keep: Duration
    limits: Limits = Limits()
    sizes: tuple[Size, ...] = ()
    by_name: dict[str, Duration] = attrs.field(factory=dict)
    net: IPNetwork | None = None
    to: tuple[IPAddress, ...] = ()

    services: ClassVar = (Service(port=7007),)


def read(**options: Any) -> Store:
    return structure({"keep": 1, **options}, Store, path="plugins.store", folder=Path())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("30 s", 30),
        ("5m", 300),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("1h 30m 5s", 5405),
        ("2d", 172800),
        ("0s", 0),
        (7, 7),
        (0.25, 0.25),
    ],
)
def test_durations_are_seconds(value: Any, seconds: float) -> None:
    duration = read(keep=value).keep
    assert duration == seconds
    assert type(duration) is float


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("0 B", 0),
        ("512B", 512),
        ("64 KiB", 65536),
        ("1.5 MiB", 1572864),
        ("10 kB", 10000),
        ("1 GB", 10**9),
        ("1k", 1000),
        (1500, 1500),
    ],
)
def test_sizes_are_bytes(value: Any, size: int) -> None:
    (read_size,) = read(sizes=[value]).sizes
    assert read_size == size
    assert type(read_size) is int


DURATION = "expected a duration such as '30s', '1h 30m' or 5 (seconds), got "
SIZE = "expected a size such as '64 KiB', '1.5 MB' or 1500 (bytes), got "


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        ({"keep": "30"}, f"keep: {DURATION}'30': it has no unit; units: ms, s, m, h, d"),
        ({"keep": "5 weeks"}, f"keep: {DURATION}'5 weeks': there is no unit 'weeks'; units: ms, s, m, h, d"),
        ({"keep": "soon"}, f"keep: {DURATION}'soon'"),
        ({"keep": "5m "}, f"keep: {DURATION}'5m '"),
        ({"keep": "-5s"}, f"keep: {DURATION}'-5s'"),
        ({"keep": -1}, f"keep: {DURATION}-1: it is negative"),
        ({"keep": True}, f"keep: {DURATION}true (a boolean)"),
        ({"keep": float("inf")}, f"keep: {DURATION}inf: it is too large"),
        ({"keep": 1e308}, f"keep: {DURATION}1e+308: it is too large"),
        ({"keep": "9" * 400 + "s"}, f"keep: {DURATION}'{'9' * 59}...: it is too large"),
        ({"sizes": ["9" * 400 + "B"]}, f"sizes[0]: {SIZE}'{'9' * 59}...: it is too large"),
        ({"sizes": ["1" + "0" * 19 + "B"]}, f"sizes[0]: {SIZE}'10000000000000000000B': it is too large"),
        ({"keep": ["5s"]}, f"keep: {DURATION}an array"),
        ({"limits": {"idle": "x"}}, f"limits.idle: {DURATION}'x'"),
        ({"limits": {"most": "64 kib"}}, f"limits.most: {SIZE}'64 kib': there is no unit 'kib'; units: B, KiB, MiB"),
        ({"limits": {"mots": 5}}, "limits.mots: unknown key; did you mean 'most'?"),
        ({"sizes": ["1 B", "1.5 B"]}, f"sizes[1]: {SIZE}'1.5 B': it is no whole number of bytes"),
        ({"sizes": ["1 B 2 B"]}, f"sizes[0]: {SIZE}'1 B 2 B'"),
        ({"sizes": [1.0]}, f"sizes[0]: {SIZE}1.0 (a float)"),
        ({"sizes": "1 B"}, "sizes: expected an array of sizes, got '1 B' (a string)"),
        ({"by_name": {"a": "9"}}, f"by_name.a: {DURATION}'9': it has no unit"),
        ({"net": "192.0.2.1/24"}, "net: expected an IP prefix such as 192.0.2.0/24 or 2001:db8::/32, got"),
        (
            {"to": ["192.0.2.1", "nowhere"]},
            "to[1]: expected an IP address such as 192.0.2.1 or 2001:db8::1, got 'nowhere'",
        ),
    ],
)
def test_a_mistake_names_path_expected_and_got(options: dict[str, Any], mistake: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read(**options)
    (error,) = caught.value.errors
    assert str(error).startswith(f"plugins.store.{mistake}")


def test_what_is_missing_is_named_with_what_it_should_be() -> None:
    with pytest.raises(ConfigErrors, match=r"plugins\.store\.keep: missing; expected a duration"):
        structure({}, Store, path="plugins.store", folder=Path())


def test_all_kinds_together() -> None:
    store = read(keep="1m", limits={"idle": "1s", "most": "1 KiB"}, by_name={"a": "2s"}, net="10.0.0.0/8")
    assert (store.limits, store.by_name) == (Limits(1.0, 1024), {"a": 2.0})
    assert store.net == ip_network("10.0.0.0/8")


@given(st.one_of(st.text(max_size=12), st.from_regex(r"[0-9. ]{0,4}[a-zA-Z ]{0,4}")))
def test_any_text_is_read_or_refused(text: str) -> None:
    for options in ({"keep": text}, {"sizes": [text]}):
        try:
            store = read(**options)
        except ConfigErrors:
            continue
        assert store.keep >= 0
        assert all(size >= 0 for size in store.sizes)

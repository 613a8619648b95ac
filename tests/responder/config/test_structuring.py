from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.config.key_paths import join
from responder.config.structuring import structure
from responder.config.type_names import unsupported
from responder.datagram import IPAddress, IPNetwork
from responder.errors import ConfigError, ConfigErrors

FOLDER = Path(__file__).parent


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@attrs.frozen
class Device:
    uuid: str
    limits: dict[str, int] = attrs.field(factory=dict)


def read(type_: Any, value: Any) -> Any:
    """`value` as a field of that type."""
    cls = attrs.make_class("Options", {"key": attrs.field(type=type_)})
    return structure({"key": value}, cls, folder=FOLDER).key


def mistakes(type_: Any, value: Any) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        read(type_, value)
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("type_", "value", "result"),
    [
        (bool, True, True),
        (int, 7, 7),
        (float, 7, 7.0),
        (float, 7.5, 7.5),
        (str, "", ""),
        (Path, "a/b", FOLDER / "a/b"),
        (Path, "/a", Path("/a")),
        (Path | None, "a", FOLDER / "a"),
        (list[Path], ["a"], [FOLDER / "a"]),
        (IPv4Address, "192.0.2.1", IPv4Address("192.0.2.1")),
        (IPv6Address, "2001:db8::1", IPv6Address("2001:db8::1")),
        (IPAddress, "2001:db8::1", IPv6Address("2001:db8::1")),
        (IPAddress, IPv4Address("192.0.2.1"), IPv4Address("192.0.2.1")),
        (IPAddress | None, "192.0.2.1", IPv4Address("192.0.2.1")),
        (IPAddress | str, "192.0.2.1", IPv4Address("192.0.2.1")),
        (IPAddress | str, "example.test", "example.test"),
        (IPv4Network, "192.0.2.0/24", IPv4Network("192.0.2.0/24")),
        (IPNetwork, "2001:db8::/32", IPv6Network("2001:db8::/32")),
        (IPNetwork, "192.0.2.1", IPv4Network("192.0.2.1/32")),
        (Colour, "red", Colour.RED),
        (Colour, Colour.BLUE, Colour.BLUE),
        (Level, 2, Level.HIGH),
        (Literal["a", 1], 1, 1),
        (int | None, None, None),
        (int | str, "7", "7"),
        (int | str, 7, 7),
        (float | int, 7, 7),
        (bool | int, True, True),
        (str | tuple[str, ...], ["a"], ("a",)),
        (tuple[int, ...], [1, 2], (1, 2)),
        (list[str], ["a"], ["a"]),
        (frozenset[int], [1, 1], frozenset({1})),
        (dict[str, tuple[int, ...]], {"a": [1]}, {"a": (1,)}),
        (tuple[Device, ...], [{"uuid": "u"}], (Device("u"),)),
    ],
)
def test_reads(type_: Any, value: Any, result: Any) -> None:
    got = read(type_, value)
    assert (got, type(got)) == (result, type(result))


@pytest.mark.parametrize(
    ("type_", "value", "mistake"),
    [
        (bool, "false", "key: expected a boolean, got 'false' (a string)"),
        (bool, 1, "key: expected a boolean, got 1 (an integer)"),
        (int, True, "key: expected an integer, got true (a boolean)"),
        (int, 7.0, "key: expected an integer, got 7.0 (a float)"),
        (int, "7", "key: expected an integer, got '7' (a string)"),
        (float, False, "key: expected a finite number, got false (a boolean)"),
        (float, float("nan"), "key: expected a finite number, got nan"),
        (float, float("inf"), "key: expected a finite number, got inf: it is too large"),
        (float, 10**400, f"key: expected a finite number, got 1{'0' * 59}...: it is too large"),
        (str, 7, "key: expected a string, got 7 (an integer)"),
        (str, ["a"], "key: expected a string, got an array"),
        (Path, "", "key: expected a file name, got ''"),
        (Path, "a\0b", "key: expected a file name, got 'a\\x00b'"),
        (IPv4Address, "::1", "key: expected an IPv4 address such as 192.0.2.1, got '::1': it is of the other family"),
        (IPAddress, "x", "key: expected an IP address such as 192.0.2.1 or 2001:db8::1, got 'x'"),
        (
            IPAddress,
            "fe80::1%eth0",
            "key: expected an IP address such as 192.0.2.1 or 2001:db8::1, got 'fe80::1%eth0': "
            "a scope (%) has no meaning here",
        ),
        (
            IPAddress,
            "::ffff:192.0.2.1",
            "key: expected an IP address such as 192.0.2.1 or 2001:db8::1, got '::ffff:192.0.2.1': "
            "write the IPv4 address 192.0.2.1",
        ),
        (
            IPNetwork,
            "10.0.0.1/8",
            "key: expected an IP prefix such as 192.0.2.0/24 or 2001:db8::/32, got '10.0.0.1/8': it has host bits set",
        ),
        (
            IPNetwork,
            "::ffff:10.0.0.0/104",
            "key: expected an IP prefix such as 192.0.2.0/24 or 2001:db8::/32, got '::ffff:10.0.0.0/104': "
            "write the IPv4 prefix 10.0.0.0/8",
        ),
        (IPNetwork, 7, "key: expected an IP prefix such as 192.0.2.0/24 or 2001:db8::/32, got 7 (an integer)"),
        (Colour, "rod", "key: expected 'red' or 'blue', got 'rod': did you mean 'red'?"),
        (Level, True, "key: expected 1 or 2, got true (a boolean)"),
        (Literal["a", 1], True, "key: expected 'a' or 1, got true (a boolean)"),
        (int | str, 7.5, "key: expected an integer or a string, got 7.5 (a float)"),
        (int | None, "7", "key: expected an integer, got '7' (a string)"),
        (str | tuple[str, ...], ["a", 1], "key[1]: expected a string, got 1 (an integer)"),
        (tuple[str, ...], "abc", "key: expected an array of strings, got 'abc' (a string)"),
        (list[IPv4Address], {}, "key: expected an array of IPv4 addresses, got a table"),
        (dict[str, int], [1], "key: expected a table of integers, got an array"),
        (dict[str, int], {"example.test": "x"}, "key.\"example.test\": expected an integer, got 'x' (a string)"),
        (Device, "u", "key: expected a table, got 'u' (a string)"),
        (Device, {}, "key.uuid: missing; expected a string"),
        (Device, {"uuid": "u", "limit": 1}, "key.limit: unknown key; did you mean 'limits'?"),
        (tuple[Device, ...], [{"uuid": 7}], "key[0].uuid: expected a string, got 7 (an integer)"),
        (
            dict[str, Device],
            {"a": {"uuid": "u", "limits": {"b": ""}}},
            "key.a.limits.b: expected an integer, got '' (a string)",
        ),
    ],
)
def test_refuses(type_: Any, value: Any, mistake: str) -> None:
    assert mistakes(type_, value) == [mistake]


def test_all_mistakes_at_once_in_the_order_of_the_table() -> None:
    @attrs.frozen
    class Options:
        first: int
        second: tuple[int, ...]
        third: str

    with pytest.raises(ConfigErrors) as caught:
        structure({"second": [1, "x", True], "other": 1, "first": "y"}, Options, path="plugins.x", folder=FOLDER)
    assert [error.path for error in caught.value.errors] == [
        "plugins.x.second[1]",
        "plugins.x.second[2]",
        "plugins.x.other",
        "plugins.x.first",
        "plugins.x.third",
    ]


def positive(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value <= 0:
        raise ValueError(f"{attribute.name}: expected a positive number, got {value}")


def test_every_validator_and_converter_is_heard() -> None:
    def upper(value: str) -> str:
        if not value:
            raise ValueError("must not be empty")
        return value.upper()

    @attrs.frozen
    class Options:
        low: int = attrs.field(validator=positive)
        name: str = attrs.field(converter=upper)
        size: int = attrs.field(validator=attrs.validators.in_([1, 2]))
        fine: str = attrs.field(converter=upper)

    with pytest.raises(ConfigErrors) as caught:
        structure({"low": 0, "name": "", "size": 3, "fine": "a"}, Options, path="plugins.x", folder=FOLDER)
    assert [str(error) for error in caught.value.errors] == [
        "plugins.x.low: expected a positive number, got 0",
        "plugins.x.name: must not be empty",
        "plugins.x.size: 'size' must be in [1, 2] (got 3)",
    ]
    good = structure({"low": 1, "name": "a", "size": 2, "fine": "b"}, Options, folder=FOLDER)
    assert (good.name, good.fine) == ("A", "B")


def test_a_validator_may_look_at_other_fields() -> None:
    def above_low(instance: Range, _attribute: attrs.Attribute[int], value: int) -> None:
        if value < instance.low:
            raise ValueError("high is below low")

    @attrs.frozen
    class Range:
        low: int
        high: int = attrs.field(validator=above_low)

    assert structure({"low": 1, "high": 2}, Range, folder=FOLDER) == Range(1, 2)
    with pytest.raises(ConfigErrors, match=r"^plugins\.x: high is below low$"):
        structure({"low": 2, "high": 1}, Range, path="plugins.x", folder=FOLDER)


def test_a_validator_may_raise_a_config_error_with_a_path_of_its_own() -> None:
    def check(_instance: object, _attribute: attrs.Attribute[str], value: str) -> None:
        raise ConfigError("no such rule", path="[2].rule", file=value, line=3)

    @attrs.frozen
    class Options:
        rules: str = attrs.field(validator=check)

    with pytest.raises(ConfigErrors) as caught:
        structure({"rules": "rules.txt"}, Options, path="plugins.x", folder=FOLDER)
    assert str(caught.value) == "rules.txt:3: plugins.x.rules[2].rule: no such rule"


def test_a_converter_makes_types_that_options_can_not_have() -> None:
    def parse(value: object) -> complex:
        if not isinstance(value, str):
            raise ValueError("expected a complex number in quotes")  # noqa: TRY004 - the contract says ValueError
        return complex(value)

    @attrs.frozen
    class Options:
        point: complex = attrs.field(converter=parse)
        _private: int = 0

    assert list(unsupported(Options)) == []
    assert structure({"point": "1+2j", "private": 3}, Options, folder=FOLDER) == Options("1+2j", 3)
    with pytest.raises(ConfigErrors, match="point: expected a complex number in quotes"):
        structure({"point": 1}, Options, folder=FOLDER)


@attrs.frozen
class Tree:
    name: str
    children: tuple[Tree, ...] = ()


def test_a_class_may_nest_itself() -> None:
    assert list(unsupported(Tree)) == []
    table = {"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}]}
    assert structure(table, Tree, folder=FOLDER) == Tree("a", (Tree("b", (Tree("c"),)),))
    table["children"][0]["children"][0]["nam"] = 1  # type: ignore[index] # a table of JSON's kind
    with pytest.raises(ConfigErrors, match=r"^children\[0\]\.children\[0\]\.nam: unknown key; did you mean 'name'\?$"):
        structure(table, Tree, folder=FOLDER)


@given(st.ip_addresses().filter(lambda address: getattr(address, "ipv4_mapped", None) is None))
def test_every_address_reads_as_python_reads_it(address: IPAddress) -> None:
    assert read(IPAddress, str(address)) == ip_address(str(address))
    assert read(tuple[IPNetwork, ...], [str(address)]) == (ip_network(str(address)),)


toml = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(toml)
def test_any_value_is_read_or_refused_by_path(value: Any) -> None:
    @attrs.frozen
    class Options:
        number: int | float = 0
        addresses: tuple[IPAddress, ...] = ()
        devices: dict[str, Device] = attrs.field(factory=dict)
        mixed: str | tuple[int, ...] | None = None
        level: Level = Level.LOW

    table = dict.fromkeys(("number", "addresses", "devices", "mixed", "level"), value)
    try:
        structure(table, Options, path="plugins.x", folder=FOLDER)
    except ConfigErrors as error:
        for one in error.errors:
            assert one.path.startswith("plugins.x.")
            assert one.message.startswith(("expected ", "missing; ", "unknown key; "))


@pytest.mark.parametrize(("key", "path"), [("a-b_1", "x.a-b_1"), ("a.b", 'x."a.b"'), ("", 'x.""'), ('"', 'x."\\""')])
def test_keys_are_quoted_where_toml_needs_it(key: str, path: str) -> None:
    assert join("x", key) == path


@attrs.frozen
class Link:
    if_: str
    in_: tuple[int, ...] = ()
    odd_: str = ""


def test_a_field_may_be_named_like_a_keyword_of_python() -> None:
    """PEP 8: with an underscore behind it, which the key has not."""
    told = structure({"if": "sensor", "in": [1], "odd_": "x"}, Link, folder=FOLDER)
    assert told == Link("sensor", (1,), "x")
    with pytest.raises(ConfigErrors) as caught:
        structure({"if_": "sensor", "odd": "x"}, Link, folder=FOLDER, path="links")
    assert [str(error) for error in caught.value.errors] == [
        "links.if_: unknown key; did you mean 'if'?",
        "links.odd: unknown key; did you mean 'odd_'?",
        "links.if: missing; expected a string",
    ]

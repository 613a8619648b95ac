"""The leaf types of options: what each accepts, how it is read, and what a message calls it.

A leaf is a value that TOML has as one piece: a boolean, a number, a string, or a string that means more (an address, a
prefix, a file).  Reading is strict: `"false"` is no boolean, `true` no integer, 7.9 no port.
`Annotated[int, Kind(...)]` narrows a type to a kind of its own, with its own name in messages.

`responder.config.structuring` reads arrays, tables and classes of them; `responder.config.type_names` names those too.
"""

from __future__ import annotations

import enum
import math
import re
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import attrs

from ..datagram import IPAddress, IPNetwork

SHOWN_LENGTH = 60  # characters of a value that a message repeats


class MismatchError(ValueError):
    """A value is not of the kind expected; the message says what was expected and what was found.

    `wrong_type`: already its TOML type is another, so that it can't have been meant.
    """

    def __init__(self, message: str, *, wrong_type: bool) -> None:
        super().__init__(message)
        self.wrong_type = wrong_type


class Secret(str):
    """An option's type: a text that no message, log or `repr` shows.

    In a configuration it may also stand in a file: `password_file = "..."` for an option `password`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'...'"


@attrs.frozen
class Kind:
    """A leaf type.

    noun     its name in messages, without an article
    read     value -> value; raises ValueError, whose message is the reason or empty
    raw      the Python types that TOML (or a Python caller) gives it as; the message about any other names its type
    example  two or so, for formats that a reader may not know
    secret   whether messages may not repeat the value
    """

    noun: str
    read: Callable[[Any], Any]
    raw: tuple[type, ...] = (str,)
    example: str = ""
    secret: bool = False

    def structure(self, value: Any) -> Any:
        """Raises MismatchError."""
        if type(value) not in self.raw:
            raise self.mismatch(value)
        try:
            return self.read(value)
        except ValueError as error:
            raise self.mismatch(value, str(error)) from None

    def mismatch(self, value: Any, reason: str = "") -> MismatchError:
        expected = with_article(self.noun) + (f" such as {self.example}" if self.example else "")
        return mismatch(expected, value, reason, wrong_type=type(value) not in self.raw, secret=self.secret)


_TOML_NAMES: Sequence[tuple[type, str]] = (
    (bool, "boolean"),  # before int, whose subclass it is
    (int, "integer"),
    (float, "float"),
    (str, "string"),
    (list, "array"),
    (tuple, "array"),
    (dict, "table"),
)


def mismatch(
    expected: str, value: Any, reason: str = "", *, wrong_type: bool = True, secret: bool = False
) -> MismatchError:
    if secret:  # the reason may repeat it
        got = with_article(_toml_name(value)) if wrong_type else f"another {_toml_name(value)}"
        return MismatchError(f"expected {expected}, got {got}", wrong_type=wrong_type)
    if isinstance(value, str) and "@" in value:
        reason = ""  # it may repeat what `_shown` leaves out
    got = _shown(value)
    if wrong_type and not isinstance(value, (list, tuple, dict)):
        got = f"{got} ({with_article(_toml_name(value))})"
    message = f"expected {expected}, got {got}" + (f": {reason}" if reason else "")
    return MismatchError(message, wrong_type=wrong_type)


_USERINFO = re.compile(r"((?:[a-z][a-z0-9+.-]*:)?//)?.*@", re.IGNORECASE | re.DOTALL)


def without_userinfo(text: str) -> str:
    """The text without what is before its last "@": a URL has a user and a password there (RFC 3986 section 3.2.1)."""
    return _USERINFO.sub(r"\1...@", text, count=1)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple, dict)):
        return with_article(_toml_name(value))
    text = repr(without_userinfo(value) if isinstance(value, str) else value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}..."


def _toml_name(value: Any) -> str:
    return next((name for type_, name in _TOML_NAMES if isinstance(value, type_)), type(value).__name__)


def _address(value: Any) -> IPAddress:
    address = ip_address(value) if isinstance(value, str) else value
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError("a scope (%) has no meaning here")
        if address.ipv4_mapped is not None:
            raise ValueError(f"write the IPv4 address {address.ipv4_mapped}")
    assert isinstance(address, (IPv4Address, IPv6Address))  # noqa: S101 - `Kind.raw` lets nothing else in
    return address


def _network(value: Any) -> IPNetwork:
    if not isinstance(value, str):
        assert isinstance(value, (IPv4Network, IPv6Network))  # noqa: S101 - `Kind.raw` lets nothing else in
        return value
    try:
        network = ip_network(value)
    except ValueError:
        ip_network(value, strict=False)
        raise ValueError("it has host bits set") from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        raise ValueError(f"write the IPv4 prefix {network.network_address.ipv4_mapped}/{network.prefixlen - 96}")
    return network


def quiet(read: Callable[[Any], Any], family: tuple[type, ...]) -> Callable[[Any], Any]:
    """`read`, refusing other families; Python's own reasons repeat the value and the format, so they are left out."""

    def read_quietly(value: Any) -> Any:
        try:
            result = read(value)
        except ValueError as error:
            text = str(error)
            raise ValueError("" if repr(value) in text else text) from None
        if not isinstance(result, family):
            raise ValueError("it is of the other family")  # noqa: TRY004 - a value of the right type, IP address
        return result

    return read_quietly


LARGEST = 2**63 - 1
"""The largest integer of TOML, and number of bytes."""

LONGEST = 100 * 365 * 86400
"""Of durations, in seconds: a hundred years are as good as for ever."""

_TOO_LARGE = "it is too large"


def _finite(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(_TOO_LARGE) from None
    if not math.isfinite(number):
        raise ValueError("" if math.isnan(number) else _TOO_LARGE)
    return number


def _file(value: str | Path) -> Path:
    if not str(value) or "\0" in str(value):
        raise ValueError("")
    return Path(value)


def _same(value: Any) -> Any:
    return value


def within(read: Callable[[Any], Any], low: float, high: float = math.inf) -> Callable[[Any], Any]:
    """`read`, refusing what is less than `low` or more than `high`, which the kind's noun should say."""

    def read_within(value: Any) -> Any:
        number = read(value)
        if not low <= number <= high:
            raise ValueError("")
        return number

    return read_within


def integer(noun: str, low: int, high: int) -> Kind:
    """A kind of integers from `low` to `high`."""
    return Kind(f"{noun} ({low}..{high})", within(_same, low, high), (int,))


ADDRESSES = (IPv4Address, IPv6Address)
_NETWORKS = (IPv4Network, IPv6Network)

LEAVES: Mapping[Any, Kind] = {
    bool: Kind("boolean", _same, (bool,)),
    int: Kind("integer", _same, (int,)),
    float: Kind("finite number", _finite, (float, int)),
    str: Kind("string", _same),
    Secret: Kind("secret", Secret, (str, Secret), secret=True),
    Path: Kind("file name", _file, (str, type(Path()))),
    IPv4Address: Kind("IPv4 address", quiet(_address, (IPv4Address,)), (str, *ADDRESSES), "192.0.2.1"),
    IPv6Address: Kind("IPv6 address", quiet(_address, (IPv6Address,)), (str, *ADDRESSES), "2001:db8::1"),
    frozenset(ADDRESSES): Kind("IP address", quiet(_address, ADDRESSES), (str, *ADDRESSES), "192.0.2.1 or 2001:db8::1"),
    IPv4Network: Kind("IPv4 prefix", quiet(_network, (IPv4Network,)), (str, *_NETWORKS), "192.0.2.0/24"),
    IPv6Network: Kind("IPv6 prefix", quiet(_network, (IPv6Network,)), (str, *_NETWORKS), "2001:db8::/32"),
    frozenset(_NETWORKS): Kind(
        "IP prefix", quiet(_network, _NETWORKS), (str, *_NETWORKS), "192.0.2.0/24 or 2001:db8::/32"
    ),
}

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# Both kinds of multiples, each by its own name (IEC 80000-13).
_SIZE_UNITS = {
    "B": 1,
    **{f"{letter}iB": 1 << 10 * power for power, letter in enumerate("KMG", 1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMG", 1)},
    **{letter: 1000**power for power, letter in enumerate("kMG", 1)},
}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)")


def _quantity(value: str, units: Mapping[str, float], *, several: bool) -> float:
    """The sum of numbers with units.  Raises ValueError."""
    parts = _QUANTITY.findall(value) if re.fullmatch(f"(?:{_QUANTITY.pattern} ?)+", value) else []
    if not parts or value.endswith(" ") or (len(parts) > 1 and not several):
        raise ValueError(f"it has no unit; units: {', '.join(units)}" if re.fullmatch(r"[0-9.]+", value) else "")
    for _, unit in parts:
        if unit not in units:
            raise ValueError(f"there is no unit {unit!r}; units: {', '.join(units)}")
    return _finite(sum(float(number) * units[unit] for number, unit in parts))


def _duration(value: str | float) -> float:
    seconds = _quantity(value, _DURATION_UNITS, several=True) if isinstance(value, str) else _finite(value)
    if seconds < 0:
        raise ValueError("it is negative")
    if seconds > LONGEST:
        raise ValueError(_TOO_LARGE)
    return seconds


def _size(value: str | int) -> int:
    size = _quantity(value, _SIZE_UNITS, several=False) if isinstance(value, str) else value
    if size > LARGEST:
        raise ValueError(_TOO_LARGE)
    if size < 0 or size != int(size):
        raise ValueError("it is negative" if size < 0 else "it is no whole number of bytes")
    return int(size)


_DURATION = Kind("duration", _duration, (str, int, float), "'30s', '1h 30m' or 5 (seconds)")
_SIZE = Kind("size", _size, (str, int), "'64 KiB', '1.5 MB' or 1500 (bytes)")

Duration: TypeAlias = Annotated[float, _DURATION]
"""An option's type: seconds, written as "500ms", "30s", "5m", "1h 30m", "2d", or as a number of seconds."""

Size: TypeAlias = Annotated[int, _SIZE]
"""An option's type: bytes, written as "512 B", "64 KiB", "10 MiB", "1 GB" or "1G", or as a number of bytes."""

PositiveDuration: TypeAlias = Annotated[
    float, attrs.evolve(_DURATION, noun="duration (at least 1ms)", read=within(_duration, 0.001))
]
PositiveSize: TypeAlias = Annotated[int, attrs.evolve(_SIZE, noun="size (at least 1 B)", read=within(_size, 1))]
PositiveInteger: TypeAlias = Annotated[int, Kind("positive integer", within(_same, 1), (int,))]
NonNegativeNumber: TypeAlias = Annotated[float, Kind("non-negative number", within(_finite, 0), (float, int))]


def is_union(type_: Any) -> bool:
    return get_origin(type_) in (Union, types.UnionType)


def kind_of(type_: Any) -> Kind | None:
    """The kind of a leaf type; None for arrays, tables, classes, other unions, and what no option can be."""
    if get_origin(type_) is Annotated:
        return next((note for note in type_.__metadata__ if isinstance(note, Kind)), None)
    if get_origin(type_) is Literal:
        return _choice(get_args(type_), get_args(type_))
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return _choice(list(type_), [member.value for member in type_])
    try:
        return LEAVES.get(frozenset(get_args(type_)) if is_union(type_) else type_)
    except TypeError:  # unhashable, such as an Annotated with a list in it
        return None


def _choice(results: Collection[Any], values: Collection[Any]) -> Kind:
    """One of some values: each is given as such, or, from Python, as the enum's member."""

    def read(value: Any) -> Any:
        for result, own in zip(results, values, strict=True):
            if value is result or (type(value) is type(own) and value == own):
                return result
        near = get_close_matches(str(value), [str(own) for own in values], 1)
        raise ValueError(f"did you mean {near[0]!r}?" if near else "")

    raw = {type(value) for value in (*results, *values)}
    return Kind(" or ".join(repr(value) for value in values), read, tuple(raw))


def members(union: Any) -> list[Any]:
    """A union's types without None; the two families of addresses (or prefixes) count as one type."""
    types_ = [member for member in get_args(union) if member is not types.NoneType]
    for family, both in ((ADDRESSES, IPAddress), (_NETWORKS, IPNetwork)):
        if set(family) <= set(types_):
            types_ = [both, *(member for member in types_ if member not in family)]
    return types_


def with_article(noun: str) -> str:
    if noun.startswith(("'", '"')) or noun[:1].isdigit():
        return noun
    return " or ".join(f"{'an' if part[0] in 'aeiouI' else 'a'} {part}" for part in noun.split(" or "))

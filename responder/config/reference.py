"""What can be written into a configuration, in words: each option and key with its type, default and description.

The description stands in one place, a table in the class' docstring:

    name         what it is
    min, max     what two are; a line that is
                 indented further goes on

An option without which an instance would not be accepted has an example in its metadata, as TOML would give it:
`attrs.field(metadata={"example": "192.0.2.1"})`.  For any other option `"such_as"` there is an example that says more
than its type does.
"""

from __future__ import annotations

import enum
import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

import attrs

from ..plugin import Plugin, Service
from .instance import DEFAULT, InstanceKeys, is_of_all_services
from .key_paths import BARE_KEY, concatenate, join, option_key
from .option_types import is_union
from .type_names import classes_in, example_of, type_name

_ROW = re.compile(r"([a-z_][a-z0-9_]*(?:, [a-z_][a-z0-9_]*)*)  +(\S.*)")


_SERVICE_FIELDS = frozenset(field.name for field in attrs.fields(Service))


@attrs.frozen
class Option:
    """One option or key.

    type       as messages call it
    default    as TOML would have it; None where there is none, or where it is decided when it is used
    essential  it is required, or stands in for others that are
    example    a value as TOML would have it
    """

    name: str
    type: str
    required: bool
    default: Any
    description: str
    essential: bool
    example: Any


def options_of(cls: type[Any]) -> list[Option]:
    """The options of a plugin, or the keys of another attrs class."""
    described = descriptions(cls)
    return [
        _option(field, described.get(option_key(field), ""))
        for field in attrs.fields(attrs.resolve_types(cls))
        if field.init
    ]


def tables_of(cls: type[Any]) -> Iterator[tuple[str, list[Option]]]:
    """The keys of the tables that stand in options, each table by its path, such as "devices.services".

    A table that may stand within itself is told once.
    """
    return ((table.path, table.keys) for table in _tables(cls))


@attrs.frozen
class _Table:
    """A table that stands in an option.

    place     its path as a header has it, with a name where it is one of several by name: `sign.name`
    repeated  it is one of an array
    """

    path: str
    place: str
    repeated: bool
    keys: list[Option]


def _tables(cls: type[Any], path: str = "", place: str = "", seen: frozenset[type] = frozenset()) -> Iterator[_Table]:
    for field in attrs.fields(attrs.resolve_types(cls)):
        here = join(path, option_key(field)) if path else option_key(field)
        for nested in classes_in(field.type) if field.init else ():
            if nested not in seen | {cls}:
                containers = _containers(field.type, nested)
                there = concatenate(place, ".".join([option_key(field), *["name"] * containers.count(dict)]))
                yield _Table(here, there, bool(containers) and containers[-1] is not dict, options_of(nested))
                yield from _tables(nested, here, there, seen | {cls})


def _containers(type_: Any, cls: type) -> list[Any]:
    """What of tables by name (dict) and arrays a class stands in, the outermost first."""
    found: list[Any] = []
    while type_ is not cls:
        if not is_union(type_):
            found.append(get_origin(type_))
        type_ = next(each for each in get_args(type_) if cls in classes_in(each))
    return found


def keys_of(plugin: type[Plugin]) -> list[Option]:
    """The keys that each instance of the plugin may have beside its options, with the defaults of its services."""
    services = plugin.services
    several = set() if any(service.name == DEFAULT for service in services) else {"port"}
    absent = {0: {"port", "ports", "groups", "hop_limit"}, 1: {"ports"}}.get(len(services), several)
    keys = [key for key in options_of(InstanceKeys) if key.name not in absent]
    return [attrs.evolve(key, default=_default_of(key, services)) for key in keys]


def descriptions(cls: type[Any]) -> dict[str, str]:
    """By name, from the table in the docstring, and from those of the classes that it builds on."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__[:-1]):
        found.update(_described(inspect.cleandoc(each.__doc__ or "")))
    return found


def _described(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    names: Sequence[str] = ()
    for line in text.splitlines():
        row = _ROW.fullmatch(line)
        if row is not None:
            names = row[1].split(", ")
            found.update(dict.fromkeys(names, row[2]))
        elif line.startswith("  ") and names:
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
        else:
            names = ()
    return found


def summary(cls: type[Any]) -> str:
    """The first line of the docstring."""
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]


def example(name: str, cls: type[Plugin]) -> str:
    """A configuration of one instance that is accepted, with each option and key; what is optional is commented out.

    So are the tables that stand in options, which come last, with their keys.
    """
    options = options_of(cls)
    lines = [f"# {summary(cls)}", f"[plugins.{name}]"]
    for title, rows in (("Options", options), ("Keys of every plugin", keys_of(cls))):
        if rows:
            lines += ["", f"# {title}"]
        for row in rows:
            lines += _entry(row, "" if row.essential else "# ")
    for table in _tables(cls):
        header = f"[plugins.{name}.{table.place}]"
        lines += ["", *_wrapped(f"Keys of {table.path}, which may stand in a table of its own instead of above")]
        lines.append(f"# {f'[{header}]' if table.repeated else header}")
        for row in table.keys:
            lines += _entry(row, "# ")
    return "\n".join([*lines, ""])


def _entry(row: Option, mark: str) -> Iterator[str]:
    """An option or key with what it is, behind an empty line; `mark` is "# " where it is commented out."""
    value, about = row.default, row.type
    if isinstance(value, Mapping) and is_of_all_services(row.name):
        about += f"; here {', '.join(f'{as_toml(own)} for {service}' for service, own in value.items())}"
        value = None
    yield ""
    yield from _wrapped(f"{row.description} ({about})" if row.description else about)
    yield f"{mark}{row.name} = {as_toml(row.example if value is None or row.essential else value)}"


def as_toml(value: Any) -> str:
    """A value as it stands behind the equals sign."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case Mapping():
            inner = ", ".join(f"{_key(key)} = {as_toml(own)}" for key, own in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(map(as_toml, value))}]"
        case _:
            return str(value)


def as_written(value: Any) -> Any:
    """A value of an option's Python type as a TOML file has it."""
    if isinstance(value, enum.Enum):
        return as_written(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): as_written(own) for key, own in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_written(own) for own in value]
    if attrs.has(type(value)):
        fields = {option_key(field): getattr(value, field.name) for field in attrs.fields(type(value)) if field.init}
        return {key: as_written(own) for key, own in fields.items() if own is not None}
    return str(value)


def _option(field: attrs.Attribute[Any], description: str) -> Option:
    type_: Any = field.type
    try:
        kind = type_name(type_)
    except TypeError:  # the field's converter makes it, from what only the plugin's author knows
        kind = str(getattr(type_, "__name__", type_))
    required = field.default is attrs.NOTHING
    default = None if required else _default(field)
    example = field.metadata.get("example")
    return Option(
        option_key(field),
        kind,
        required,
        default,
        description,
        required or example is not None,
        field.metadata.get("such_as", example_of(type_)) if example is None else example,
    )


def _default(field: attrs.Attribute[Any]) -> Any:
    # attrs.Factory is a function to type checkers, and a class at run time.
    factory: Any = attrs.Factory
    default: Any = field.default
    try:
        if isinstance(default, factory):
            default = None if default.takes_self else default.factory()
    except Exception as error:  # the plugin author's own code
        return f"can't be told: {type(error).__name__}"
    return as_written(default)


def _default_of(key: Option, services: Sequence[Service]) -> Any:
    """What holds where the key is left out: of a service, or, where they differ, of each by its name."""
    field = "port" if key.name == "ports" else key.name
    if not services or field not in _SERVICE_FIELDS:
        return key.default
    if field == "port" and len(services) > 1:  # the service "default" has a key of its own
        services = [service for service in services if (service.name == DEFAULT) is (key.name == "port")]
    unbounded = 0 if field in {"rate", "amplification", "connections_per_peer"} else None
    values = {service.name: as_written(getattr(service, field)) for service in services}
    values = {name: unbounded if value is None else value for name, value in values.items()}
    first, *others = values.values()
    if key.name != "ports" and (
        len(services) == 1 or (is_of_all_services(key.name) and all(other == first for other in others))
    ):
        return first
    return {name: value for name, value in values.items() if value is not None} or None


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _wrapped(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, 100, break_on_hyphens=False))

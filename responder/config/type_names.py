"""What a type of options is called in messages and tables, an example of its values, and what can't be such a type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs

from .key_paths import option_key
from .option_types import LEAVES, Kind, is_union, kind_of, members


def type_name(type_: Any) -> str:
    """A type as messages and tables call it, without an article.  Raises TypeError for one that no option can have."""
    kind = kind_of(type_)
    if kind is not None:
        return kind.noun
    arguments = get_args(type_)
    match get_origin(type_):
        case origin if origin is list or origin is frozenset or (origin is tuple and arguments[1:] == (...,)):
            return f"array of {_plural(type_name(arguments[0]))}"
        case origin if origin is dict and arguments[0] is str:
            return f"table of {_plural(type_name(arguments[1]))}"
        case _ if is_union(type_):
            return " or ".join(dict.fromkeys(type_name(member) for member in members(type_)))
    if isinstance(type_, type) and attrs.has(type_):
        return "table"
    raise TypeError(f"options can't be of type {getattr(type_, '__name__', type_)}")


def example_of(type_: Any) -> Any:
    """Some value of the type, as TOML has it."""
    kind = kind_of(type_)
    if kind is not None:
        return _example_of_kind(kind)
    arguments = get_args(type_)
    if is_union(type_):
        return example_of(members(type_)[0])
    if get_origin(type_) is dict:
        return {"name": example_of(arguments[1])}
    if arguments:
        return [example_of(arguments[0])]
    if isinstance(type_, type) and attrs.has(type_):
        required = [field for field in attrs.fields(attrs.resolve_types(type_)) if field.default is attrs.NOTHING]
        return {
            option_key(field): field.metadata.get("example", example_of(field.type)) for field in required if field.init
        }
    return "..."  # what a plugin's own converter takes


def _example_of_kind(kind: Kind) -> Any:
    """The first of its examples, or of its values; otherwise what its TOML type suggests."""
    if quoted := re.match(r"'([^']*)'", kind.example or kind.noun):
        return quoted[1]
    if kind.example:
        return kind.example.split()[0].rstrip(",")
    if number := re.match(r"[0-9]+", kind.noun):
        return int(number[0])
    if kind is LEAVES[Path]:
        return "file"
    return {bool: True, int: 1, float: 1.0}.get(kind.raw[0], "text")


def _plural(noun: str) -> str:
    """`array of strings` -> `arrays of strings`; a choice of values stays."""
    if noun.startswith(("'", '"')):
        return noun
    parts = []
    for part in noun.split(" or "):
        end = min((at for at in (part.find(" of "), part.find(" (")) if at >= 0), default=len(part))
        head, rest = part[:end], part[end:]
        parts.append(f"{head}{'es' if head.endswith(('s', 'x')) else 's'}{rest}")
    return " or ".join(parts)


def unsupported(cls: type, *, _seen: frozenset[type] = frozenset()) -> Iterator[str]:
    """What `structure` could not read among a class' fields, nested classes included, a line each.

    Resolves the classes' annotations.  A field with a converter may be of any type: what TOML gives goes to that.
    """
    try:
        attrs.resolve_types(cls)
    except Exception as error:  # an annotation is code, and may raise anything
        yield f"the types of {cls.__name__} can't be resolved: {error}"
        return
    for field in attrs.fields(cls):
        if not field.init:
            continue
        try:
            type_name(field.type)
        except TypeError as error:
            if field.converter is None:
                yield f"{cls.__name__}.{option_key(field)}: {error}"
            continue
        for nested in classes_in(field.type):
            if nested not in _seen | {cls}:
                yield from unsupported(nested, _seen=_seen | {cls})


def classes_in(type_: Any) -> Iterator[type]:
    """The attrs classes that a type's tables are read as."""
    if kind_of(type_) is not None:  # read as a whole
        return
    if isinstance(type_, type) and attrs.has(type_):
        yield type_
    for argument in get_args(type_):
        yield from classes_in(argument)

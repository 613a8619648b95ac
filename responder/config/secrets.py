"""Options that are secrets: which types hold them, what messages may say of them, and secrets that come from files.

An option of type `Secret`, or an array of `Secret`s, is never repeated by a message, a log or a traceback.  The secret
of an option NAME may stand in a file, which `NAME_file` names; several of an array stand there a line each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs

from ..errors import ConfigError
from ..plugin import Context
from .option_types import Secret, kind_of

SUFFIX = "_file"

HIDDEN = "..."


def is_secret(type_: Any) -> bool:
    """Is it a secret, or an array, a table or a choice of them?"""
    kind = kind_of(type_)
    if kind is not None:
        return kind.secret
    return any(is_secret(argument) for argument in get_args(type_))


def holds_secret(type_: Any) -> bool:
    """The same, where a class with such a field counts as well."""
    if isinstance(type_, type) and attrs.has(type_):
        return any(field.init and holds_secret(field.type) for field in attrs.fields(attrs.resolve_types(type_)))
    kind = kind_of(type_)
    return kind.secret if kind is not None else any(holds_secret(argument) for argument in get_args(type_))


def file_keys(fields: Mapping[str, attrs.Attribute[Any]]) -> dict[str, str]:
    """The keys of files that secrets may come from, with the fields' own: NAME_file -> NAME."""
    return {
        f"{name}{SUFFIX}": name
        for name, field in fields.items()
        if is_secret(field.type) and get_origin(field.type) is not dict
    }


def read_file(file: Any, type_: Any, folder: Path) -> Any:
    """The secret that a file holds, or the array of those on its lines.  Raises ConfigError, ValueError."""
    if not isinstance(file, str) or not file:
        raise ValueError("expected a file name")
    text = Context("", folder).read_text(file).rstrip("\r\n")
    if not text:
        raise ConfigError("it is empty", file=folder / file)
    is_array = get_origin(type_) in {tuple, list, frozenset}
    return text.splitlines() if is_array else text


def hidden(message: str, secrets: Any) -> str:
    """The message without the texts in `secrets`, which may be nested."""
    for text in sorted(set(_texts(secrets)), key=len, reverse=True):
        for form in (text, repr(text)[1:-1]):
            message = message.replace(form, HIDDEN)
    return message


def secrets_of(options: Any) -> Iterator[str]:
    """Every secret in an instance of a class of options."""
    if isinstance(options, Secret):
        yield str(options)
    elif isinstance(options, Mapping):
        for value in options.values():
            yield from secrets_of(value)
    elif isinstance(options, (list, tuple, frozenset)):
        for value in options:
            yield from secrets_of(value)
    elif attrs.has(type(options)):
        for field in attrs.fields(type(options)):
            yield from secrets_of(getattr(options, field.name, None))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value:
            yield str(value)
    elif isinstance(value, Mapping):
        for own in value.values():
            yield from _texts(own)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for own in value:
            yield from _texts(own)

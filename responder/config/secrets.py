"""Options that are secrets: which types hold them, what messages may say of them, and secrets that come from files.

An option of type `Secret`, or an array of `Secret`s, is never repeated by a message, a log or a traceback.  The secret
of an option NAME may stand in a file, which `NAME_file` names; several of an array stand there a line each.

Of any other option a message repeats nothing that stands before "@", where a URL has its user and password.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs

from ..errors import ConfigError
from ..plugin import Context
from .option_types import Secret, kind_of, without_userinfo

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


def hiding(secrets: Any, options: Any) -> Callable[[str], str]:
    """Message -> the same without the texts in `secrets`, and without what stands before "@" in those of `options`.

    Both may be nested, also in instances of classes of options.
    """
    instead: dict[str, str] = {}
    for text in _texts(secrets):
        instead |= dict.fromkeys(_forms(text), HIDDEN)
    for text in _texts(options):
        if "@" in text:
            before = {form[: form.rindex("@") + 1] for form in _forms(text)}
            instead = {form: without_userinfo(form) for form in before} | instead
    ordered = sorted(instead.items(), key=lambda item: len(item[0]), reverse=True)

    def hide(message: str) -> str:
        for form, other in ordered:
            message = message.replace(form, other)
        return message

    return hide


def _forms(text: str) -> tuple[str, str]:
    """As it is, and as `repr` has it between its quotes."""
    return text, str.__repr__(text)[1:-1]


def secrets_of(options: Any) -> tuple[str, ...]:
    """Every secret in an instance of a class of options."""
    return tuple(text for text in _texts(options) if isinstance(text, Secret))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, Mapping):
        for own in value.values():
            yield from _texts(own)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for own in value:
            yield from _texts(own)
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from _texts(getattr(value, field.name, None))

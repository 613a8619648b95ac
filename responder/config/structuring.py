"""Tables (dicts of what TOML gives) into attrs classes, strictly, by cattrs; every mistake with its key's full path.

cattrs finds the hook of each type and walks arrays and tables, going on after a mistake; this file gives it the strict
reading of leaves (`responder.config.option_types`), refuses a string where an array is meant, and reads classes itself,
since cattrs' own way neither runs a field's converter and validator where the field's path is known nor keeps the
table's order.

`responder.config.type_names.unsupported` names the types that can't be read.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.cols import list_structure_factory, mapping_structure_factory
from cattrs.errors import IterableValidationNote

from ..errors import ConfigError, ConfigErrors
from . import secrets
from .key_paths import concatenate, join, option_key, unknown_keys
from .option_types import MismatchError, is_union, kind_of, members, mismatch, with_article
from .type_names import type_name

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]


def structure(
    table: Mapping[str, Any], cls: type[T], *, path: str = "", folder: Path, also_known: Collection[str] = ()
) -> T:
    """An instance of `cls`, an attrs class, from a table.

    `path` is the table's own, `folder` what relative files start from; `also_known` are keys that the table might have
    been meant to have, beside the class' own.  Raises ConfigErrors, in the order of the table.
    """
    try:
        result: T = _class_hook(cls, _converter(folder), folder, also_known)(table, cls)
    except Exception as error:
        # The errors that these come from may repeat a secret.
        raise ConfigErrors(_mistakes(error, path)) from None
    return result


def _mistakes(error: BaseException, path: str) -> Iterator[ConfigError]:
    """What a hook raised for the value at `path`, flat."""
    if isinstance(error, cattrs.IterableValidationError):
        for inner in error.exceptions:
            # cattrs' note is the step from the array or table to the value: an index or a key.
            note = next(note for note in inner.__notes__ if isinstance(note, IterableValidationNote))
            step = f"[{note.index}]" if isinstance(note.index, int) else join("", note.index)
            yield from _mistakes(inner, concatenate(path, step))
    elif isinstance(error, ConfigErrors):
        for one in error.errors:
            yield from _mistakes(one, path)
    elif isinstance(error, ConfigError):
        yield ConfigError(error.message, path=concatenate(path, error.path), file=error.file, line=error.line)
    elif isinstance(error, (ValueError, TypeError)):
        # attrs' own validators put the field, and more, behind the message; some messages begin with the field's name.
        message = str(error.args[0]) if error.args else type(error).__name__
        yield ConfigError(message.removeprefix(f"{path.rpartition('.')[2]}: "), path=path)
    else:
        yield ConfigError(f"{type(error).__name__}: {error}", path=path)


def _is_readable(type_: Any) -> bool:
    try:
        type_name(type_)
    except TypeError:
        return False
    return True


def _expected(type_: Any) -> str:
    return f"; expected {with_article(type_name(type_))}" if _is_readable(type_) else ""


@functools.lru_cache(8)
def _converter(folder: Path) -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)

    def leaf(value: Any, type_: Any) -> Any:
        kind = kind_of(type_)
        if kind is None:
            raise TypeError(f"options can't be of type {type_}")
        result = kind.structure(value)
        return folder / result if isinstance(result, Path) else result

    # cattrs asks the one registered last first, and before all of them its own for the four classes at the end, which
    # it asks about those' subclasses (an IntEnum) too.
    hooks: list[tuple[Callable[[Any], bool], Callable[[Any], Hook]]] = [
        (attrs.has, lambda cls: _class_hook(cls, converter, folder)),
        (lambda type_: get_origin(type_) is dict, lambda type_: _table_hook(type_, converter)),
        (lambda type_: get_origin(type_) in {list, tuple, frozenset}, lambda type_: _array_hook(type_, converter)),
        (is_union, lambda type_: _union_hook(type_, converter)),
        (lambda type_: kind_of(type_) is not None, lambda _type: leaf),
    ]
    for predicate, factory in hooks:
        converter.register_structure_hook_factory(predicate, factory)
    for cls in (str, int, float, Path):
        converter.register_structure_hook(cls, leaf)
    return converter


def _array_hook(type_: Any, converter: cattrs.Converter) -> Hook:
    container: Any = get_origin(type_)
    as_list: Any = list.__class_getitem__(get_args(type_)[0])
    structure_list = list_structure_factory(as_list, converter)

    def structure_array(value: Any, _type: Any) -> Any:
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise mismatch(with_article(type_name(type_)), value, secret=secrets.holds_secret(type_))
        return container(structure_list(value, as_list))

    return structure_array


def _table_hook(type_: Any, converter: cattrs.Converter) -> Hook:
    structure_mapping = mapping_structure_factory(type_, converter)

    def structure_table(value: Any, _type: Any) -> Any:
        if not isinstance(value, Mapping):
            raise mismatch(with_article(type_name(type_)), value, secret=secrets.holds_secret(type_))
        return structure_mapping(value, type_)

    return structure_table


def _class_hook(cls: Any, converter: cattrs.Converter, folder: Path, also_known: Collection[str] = ()) -> Hook:
    fields = {option_key(field): field for field in attrs.fields(attrs.resolve_types(cls)) if field.init}
    files = secrets.file_keys(fields)

    def structure_class(table: Any, _type: Any) -> Any:
        if not isinstance(table, Mapping):
            raise mismatch("a table", table, secret=secrets.holds_secret(cls))
        values: dict[str, Any] = {}
        hidden: list[Any] = []
        errors: list[ConfigError] = []
        unknown: list[str] = []
        for key, value in table.items():
            name = key if key in fields else files.get(key)
            if name is None:
                if not unknown:  # all at once, where the first stands
                    unknown = [each for each in table if each not in fields and each not in files]
                    errors += unknown_keys("", unknown, {*fields, *files, *also_known})
                continue
            if name != key and name in table:
                errors.append(ConfigError(f"{name} is given as well", path=join("", key)))
                continue
            field = fields[name]
            given = value if name == key else ()
            try:
                if name != key:
                    given = secrets.read_file(value, field.type, folder)
                values[field.alias or field.name] = _structure_field(given, field, converter)
            except (Exception, SystemExit) as error:  # converters and validators are a plugin's code
                texts = given if secrets.is_secret(field.type) else ()
                # What was read a value at a time repeats no userinfo.
                options = () if isinstance(error, _OWN_MISTAKES) else value
                errors += _hidden(_mistakes(error, join("", key)), secrets.hiding(texts, options))
            if secrets.is_secret(field.type):
                hidden.append(given)
        for key, field in fields.items():
            if field.default is attrs.NOTHING and key not in table and f"{key}{secrets.SUFFIX}" not in table:
                errors.append(ConfigError(f"missing{_expected(field.type)}", path=join("", key)))
        if not errors:
            try:
                return cls(**values)
            except (Exception, SystemExit) as error:  # as above
                errors += _hidden(_mistakes(error, ""), secrets.hiding(hidden, table))
        raise ConfigErrors(errors)

    return structure_class


_OWN_MISTAKES = (cattrs.IterableValidationError, ConfigErrors, MismatchError)


def _hidden(errors: Iterable[ConfigError], hide: Callable[[str], str]) -> Iterator[ConfigError]:
    for each in errors:
        yield ConfigError(hide(each.message), path=each.path, file=each.file, line=each.line)


def _structure_field(value: Any, field: attrs.Attribute[Any], converter: cattrs.Converter) -> Any:
    """Reads a field's value, and tries its converter and validator at once, so that their mistakes have its path.

    Both run again when the instance is made: only there can they see other fields.
    """
    # attrs' stubs don't say that each of them may be missing.
    type_: Any = field.type
    convert: Any = field.converter
    validator: Any = field.validator
    if _is_readable(type_):
        value = converter.structure(value, type_)
    elif convert is None:
        raise TypeError(f"options can't be of type {type_}")
    if isinstance(convert, attrs.Converter):  # may want the instance
        return value
    converted = value if convert is None else convert(value)
    if validator is not None:
        with contextlib.suppress(AttributeError):  # it looks at the instance, which there is not yet
            validator(None, field, converted)
    return value


def _union_hook(union: Any, converter: cattrs.Converter) -> Hook:
    """The first member that can be read; the value's own type goes first, but `str` last, since it reads anything."""
    optional = type(None) in get_args(union)
    candidates = members(union)

    def structure_union(value: Any, _type: Any) -> Any:
        if value is None and optional:
            return None
        failures = []
        for member in sorted(candidates, key=lambda member: (member is str, member is not type(value))):
            try:
                return converter.structure(value, member)
            except _OWN_MISTAKES as error:
                failures.append(error)
        # The type was right, so the mistake is inside the array or table, or the value is out of a leaf's range.
        meant = [error for error in failures if not (isinstance(error, MismatchError) and error.wrong_type)]
        if meant or len(failures) == 1:
            raise (meant or failures)[0]
        raise mismatch(with_article(type_name(union)), value, secret=secrets.holds_secret(union))

    return structure_union

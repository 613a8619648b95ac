"""Keys of a configuration: their full paths as messages give them, and the nearest known one to a wrong one."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from keyword import iskeyword
from typing import Any

import attrs

from ..errors import ConfigError

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STEP = re.compile(rf'{BARE_KEY.pattern}|"(?:[^"\\]|\\.)*"')


def option_key(field: attrs.Attribute[Any]) -> str:
    """The key of an option: the field's name, for a keyword of Python (`if_`) without what PEP 8 puts behind it."""
    name = field.alias or field.name
    bare = name.removesuffix("_")
    return bare if iskeyword(bare) else name


def join(path: str, key: str) -> str:
    """The path of a key of the table at `path`, quoted where TOML needs it: `plugins.dns.zones."example.test"`."""
    return concatenate(path, key if BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False))


def concatenate(path: str, rest: str) -> str:
    """A path and one that starts from there: `plugins.x` and `devices[0].uuid`, or `[0]`; either may be empty."""
    return f"{path}.{rest}" if path and rest and not rest.startswith("[") else f"{path}{rest}"


def is_under(path: str, parent: str) -> bool:
    """Is the key at `path` the one at `parent`, or within it?"""
    return path == parent or path.startswith((f"{parent}.", f"{parent}["))


def key_of(path: str, table: str) -> str | None:
    """The key of the table at `table` that a path leads through; None where it leads elsewhere."""
    if not path.startswith(f"{table}."):
        return None
    found = _STEP.match(path, len(table) + 1)
    if found is None:
        return None
    return str(json.loads(found[0])) if found[0].startswith('"') else found[0]


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The question, or nothing where no known name is near."""
    near = get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else ""


MAX_UNKNOWN = 20
"""Keys of a table that are told one by one to be unknown."""


def unknown_keys(path: str, keys: Sequence[str], known: Collection[str]) -> Iterator[ConfigError]:
    """The errors for keys that the table at `path` can't have."""
    yield from (unknown_key(path, key, known) for key in keys[:MAX_UNKNOWN])
    if len(keys) > MAX_UNKNOWN:
        yield ConfigError(f"and {len(keys) - MAX_UNKNOWN} more unknown keys", path=path)


def unknown_key(path: str, key: str, known: Collection[str]) -> ConfigError:
    """The error for a key that the table at `path` can't have."""
    hint = did_you_mean(key, known) or f"known here: {', '.join(sorted(known))}"
    return ConfigError(f"unknown key; {hint}", path=join(path, key))

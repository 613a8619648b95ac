"""What `/.well-known/core` says: links with attributes, and their filters (RFC 6690)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias
from urllib.parse import quote

FORMAT: Final = 40
"""The content format "application/link-format"."""

Path: TypeAlias = tuple[bytes, ...]
"""A path's segments, as Uri-Path options have them; none: the root."""

Attributes: TypeAlias = Mapping[str, str | int | bool]
"""A link's; True: an attribute without a value."""

_LISTS: Final = frozenset({"rt", "if", "rel", "rev", "ct"})
"""Attributes whose values are lists, separated by spaces, each of which a filter may match (section 4.1)."""

_PCHAR: Final = "!$&'()*+,;=:@"
"""What a segment may have beside letters, digits, "-", ".", "_" and "~" (RFC 3986 section 3.3)."""


def href(path: Path) -> str:
    return "/" + "/".join(quote(segment, safe=_PCHAR) for segment in path)


def write_links(resources: Iterable[tuple[Path, Attributes]], filters: Sequence[str] = ()) -> bytes:
    """The links that match all filters (queries such as `rt=sensor*`)."""
    wanted = [filter_.partition("=") for filter_ in filters]
    return ",".join(
        _link(path, attributes)
        for path, attributes in resources
        if all(_matches(path, attributes, name, sign, pattern) for name, sign, pattern in wanted)
    ).encode()


def _matches(path: Path, attributes: Attributes, name: str, sign: str, pattern: str) -> bool:
    value = href(path) if name == "href" else attributes.get(name, False)
    if value is False:
        return False
    if not sign:
        return True  # the attribute is there
    text = "" if value is True else str(value)
    values = [text, *text.split(" ")] if name in _LISTS else [text]
    if pattern.endswith("*"):
        return any(each.startswith(pattern[:-1]) for each in values)
    return pattern in values


def _link(path: Path, attributes: Attributes) -> str:
    parts = [f"<{href(path)}>"]
    for name, value in attributes.items():
        if value is True:
            parts.append(name)
        elif isinstance(value, str):
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f'{name}="{escaped}"')
        elif value is not False:
            parts.append(f"{name}={value}")
    return ";".join(parts)

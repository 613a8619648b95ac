"""What a request asks for: its options, checked (RFC 7252 sections 5.4 and 5.10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from .message import METHODS, Code, Message, Number, dotted
from .resources import Unavailable

_SIZES: Final[Mapping[int, tuple[int, int]]] = {
    Number.URI_HOST: (1, 255),
    Number.ETAG: (1, 8),
    Number.OBSERVE: (0, 3),
    Number.URI_PORT: (0, 2),
    Number.URI_PATH: (0, 255),
    Number.URI_QUERY: (0, 255),
    Number.ACCEPT: (0, 2),
    Number.BLOCK2: (0, 3),
    Number.SIZE2: (0, 4),
    Number.ECHO: (1, 40),
}
"""Bytes of the values of the options that a GET may have here; another size makes it an unknown one (section 5.4.3)."""

_PROXY: Final = frozenset({Number.PROXY_URI, Number.PROXY_SCHEME})

REGISTER: Final = 0
DEREGISTER: Final = 1
"""Values of Observe in a request (RFC 7641 section 2)."""

MAX_SIZE_EXPONENT: Final = 6
"""Of a block: 1024 bytes (RFC 7959 section 2.2)."""


@attrs.frozen
class Block:
    """A Block2 option's number and size exponent."""

    number: int = 0
    size_exponent: int = MAX_SIZE_EXPONENT


@attrs.frozen
class Asked:
    """What a GET asks for.

    block     None: no block was asked for
    echo      empty: none
    is_plain  there is nothing but the path and queries
    """

    path: tuple[bytes, ...]
    queries: tuple[str, ...] = ()
    etags: tuple[bytes, ...] = ()
    accept: int | None = None
    observe: int | None = None
    block: Block | None = None
    wants_size: bool = False
    echo: bytes = b""
    is_plain: bool = False


def read_request(message: Message) -> Asked:
    """Raises Unavailable with the code of the refusal; the text of BAD_OPTION names a critical option."""
    path: list[bytes] = []
    queries: list[str] = []
    etags: list[bytes] = []
    single: dict[int, bytes] = {}
    unknown = None
    for number, value in message.options:
        sizes = _SIZES.get(number)
        # One too many of those that may be there once is an unknown one, too (section 5.4.5).
        if sizes is None or not sizes[0] <= len(value) <= sizes[1] or number in single:
            if number in _PROXY:
                raise Unavailable("no proxy", Code.PROXYING_NOT_SUPPORTED)
            if number & 1:  # critical; the others may be ignored (section 5.4.1)
                unknown = number if unknown is None else unknown
        elif number == Number.URI_PATH:
            path.append(value)
        elif number == Number.URI_QUERY:
            queries.append(value.decode("utf-8", "replace"))
        elif number == Number.ETAG:
            etags.append(value)
        else:
            single[number] = value
    if message.code != Code.GET:
        method = METHODS.get(message.code, dotted(message.code))
        raise Unavailable(f"no {method} here", Code.METHOD_NOT_ALLOWED)
    if unknown is not None:
        raise Unavailable(f"option {unknown}", Code.BAD_OPTION)
    if not single:  # most requests
        return Asked(tuple(path), tuple(queries), tuple(etags), is_plain=not etags)
    return Asked(
        tuple(path),
        tuple(queries),
        tuple(etags),
        _uint(single.get(Number.ACCEPT)),
        _uint(single.get(Number.OBSERVE)),
        _block(single.get(Number.BLOCK2)),
        Number.SIZE2 in single,
        single.get(Number.ECHO, b""),
    )


def _uint(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value)


def _block(value: bytes | None) -> Block | None:
    if value is None:
        return None
    number = int.from_bytes(value)
    if number & 7 > MAX_SIZE_EXPONENT:
        raise Unavailable("a reserved block size", Code.BAD_REQUEST)
    return Block(number >> 4, number & 7)

"""Responses: a representation, or the block of it that is asked for, and refusals (RFC 7252 section 5.9, RFC 7959)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from .asking import MAX_SIZE_EXPONENT, Asked, Block
from .message import Code, Number, Option, uint, write_rest
from .resources import DEFAULT_MAX_AGE, Content, Unavailable

MAX_BLOCKS: Final = 1 << 20
"""A block's number has 20 bits."""


@attrs.frozen
class Response:
    """What is said, whatever kind of message says it: a code, and what stands behind the token."""

    code: int
    rest: bytes = b""


def refuse(error: Unavailable) -> Response:
    """The text is a diagnostic payload (RFC 7252 section 5.5.2)."""
    return Response(error.code, write_rest((), str(error).encode()))


def block_bytes(size_exponent: int) -> int:
    return 16 << size_exponent


def represent(
    asked: Asked,
    content: Content,
    max_exponent: int = MAX_SIZE_EXPONENT,
    *,
    observe: int | None = None,
    echo: Callable[[], bytes] | None = None,
) -> Response:
    """The representation, or one block of it.

    max_exponent  of the size of a block, whatever is asked for
    observe       the number that orders notifications, where this is one
    echo          makes what a peer is to repeat, where it gets a smaller block than it might, or observes

    Raises Unavailable where it isn't acceptable, or has no such block.
    """
    if asked.accept not in (None, content.content_format):
        raise Unavailable(f"there is content format {content.content_format}", Code.NOT_ACCEPTABLE)
    options: list[Option] = [(Number.ETAG, content.etag)]
    if observe is not None:
        options.append((Number.OBSERVE, uint(observe)))
    max_age = (Number.MAX_AGE, uint(content.max_age))
    if content.etag in asked.etags:
        if content.max_age != DEFAULT_MAX_AGE:
            options.append(max_age)
        return Response(Code.VALID, write_rest(options))
    options.append((Number.CONTENT_FORMAT, uint(content.content_format)))
    if content.max_age != DEFAULT_MAX_AGE:
        options.append(max_age)
    block = asked.block or Block()
    exponent = min(block.size_exponent, max_exponent)
    # The same place in smaller blocks (RFC 7959 section 2.3).
    number = block.number << (block.size_exponent - exponent)
    size, length = block_bytes(exponent), len(content.payload)
    start = number * size
    if (number and start >= length) or number >= MAX_BLOCKS:
        raise Unavailable("there is no such block", Code.BAD_REQUEST)
    more = start + size < length
    if asked.block is not None or more:
        options.append((Number.BLOCK2, uint(number << 4 | more << 3 | exponent)))
    if asked.wants_size:
        options.append((Number.SIZE2, uint(length)))
    if echo is not None and (more or observe is not None):
        options.append((Number.ECHO, echo()))
    return Response(Code.CONTENT, write_rest(options, content.payload[start : start + size]))

"""What can be asked for: resources, and what they give.  Third parties write their own as subclasses of `Resource`."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from responder import wall_time

from ..shared.file_threads import FileThreads
from ..shared.regular_file import open_regular
from .message import Code

TEXT_PLAIN: Final = 0
"""The content format "text/plain;charset=utf-8"."""

OCTET_STREAM: Final = 42

FORMATS: Final[Mapping[str, int]] = {
    ".txt": TEXT_PLAIN,
    ".gif": 21,
    ".jpeg": 22,
    ".jpg": 22,
    ".png": 23,
    ".wlnk": 40,
    ".xml": 41,
    ".exi": 47,
    ".json": 50,
    ".cbor": 60,
}
"""Content formats by a file's suffix (IANA's "CoAP Content-Formats"); any other is OCTET_STREAM."""

DEFAULT_MAX_AGE: Final = 60
"""Seconds; what a response without the option means (RFC 7252 section 5.10.5)."""

ETAG_BYTES: Final = 4

SMALL: Final = 1 << 16
"""Bytes of a file that is read anew for each request.  A larger one is read again once its stamp has changed; files of
/proc and /sys, whose stamps tell nothing, are small."""

MAX_FILE: Final = 1 << 24
"""Bytes: a larger file is none of a constrained device's."""

SETTLED: Final = 2.0
"""Seconds after which a file's stamp is believed: within one tick of its clock a file may change twice."""


def etag_of(payload: bytes, content_format: int) -> bytes:
    """An entity tag, of what it is the tag of (RFC 7252 section 5.10.6)."""
    return hashlib.blake2s(content_format.to_bytes(2) + payload, digest_size=ETAG_BYTES).digest()


@attrs.frozen
class Content:
    """A representation.

    content_format  by its number at IANA; 0: text
    max_age         seconds that it may be kept for
    etag            made of the payload
    """

    payload: bytes
    content_format: int = TEXT_PLAIN
    max_age: int = DEFAULT_MAX_AGE
    etag: bytes = attrs.field(default=attrs.Factory(lambda self: etag_of(self.payload, self.content_format), True))


class Unavailable(Exception):
    """What `Resource.get` raises where there is nothing to give; `code` says why, the text is told to the peer."""

    def __init__(self, text: str = "", code: Code = Code.SERVICE_UNAVAILABLE) -> None:
        super().__init__(text)
        self.code = code


class Resource:
    """Something that peers can ask for by its path.

    A subclass says what it is by `attributes` (of its link in `/.well-known/core`: "rt", "if", "title", "ct", "sz"),
    and gives its state by `get`.  Where it is `observable`, `get` is called every two seconds while somebody observes
    it, and peers are told what is new.
    """

    attributes: Mapping[str, str | int | bool] = {}
    observable: bool = False

    def get(self, queries: Sequence[str]) -> Content | Awaitable[Content]:
        """The state now; it may be `async`, and then take its time.  `queries` are the request's, such as "unit=C".

        Raises Unavailable.
        """
        raise NotImplementedError


@attrs.frozen(eq=False)
class TextResource(Resource):
    """Always the same."""

    content: Content
    attributes: Mapping[str, str | int | bool]

    def get(self, queries: Sequence[str]) -> Content:
        del queries
        return self.content


@attrs.define(eq=False)
class FileResource(Resource):
    """A file as it is when it is asked for; nothing is ever read but this file."""

    file: Path
    content_format: int
    max_age: int
    attributes: Mapping[str, str | int | bool]
    observable: bool
    threads: FileThreads
    _known: tuple[tuple[int, int, int], Content] | None = attrs.field(default=None, init=False)
    """Of a large file: its stamp, and what was read."""

    async def get(self, queries: Sequence[str]) -> Content:
        del queries
        return await self.threads.run(self.read)

    def read(self) -> Content:
        """It may block.  Raises Unavailable."""
        try:
            with open_regular(self.file) as file:
                return self._read(file.fileno())
        except FileNotFoundError:
            raise Unavailable("no such file", Code.NOT_FOUND) from None
        except PermissionError:
            raise Unavailable("it may not be read", Code.FORBIDDEN) from None
        except OSError as error:
            raise Unavailable("it can't be read", Code.INTERNAL_SERVER_ERROR) from error

    def _read(self, handle: int) -> Content:
        status = os.fstat(handle)
        stamp = status.st_mtime_ns, status.st_size, status.st_ino
        known = self._known
        if status.st_size > SMALL and known is not None and known[0] == stamp:
            return known[1]
        pieces, left = [], MAX_FILE + 1
        while left > 0 and (piece := os.read(handle, min(left, 1 << 20))):
            pieces.append(piece)
            left -= len(piece)
        if not left:
            raise OSError(errno.EFBIG, "it is too large")
        content = Content(b"".join(pieces), self.content_format, self.max_age)
        # A stamp that is younger may stand for what is written in the same moment.
        is_settled = abs(wall_time() - status.st_mtime) > SETTLED
        self._known = (stamp, content) if status.st_size > SMALL and is_settled else None
        return content

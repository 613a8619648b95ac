"""What outlives a restart: the endpoint's UUID, and the version of its metadata, which grows when they change."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_DNS, uuid4, uuid5

import attrs

from responder import ConfigError, get_logger

from ..shared.kept_file import write_whole
from . import UUID

if TYPE_CHECKING:
    from . import Wsd

FILE: Final = "endpoint.json"

MAX_VERSION: Final = 2**32 - 1

_log = get_logger(__name__)


@attrs.frozen
class Identity:
    """The endpoint's UUID, and its metadata's version."""

    uuid: str
    metadata_version: int

    @property
    def endpoint(self) -> str:
        return f"urn:uuid:{self.uuid}"

    @classmethod
    def of(cls, options: Wsd, folder: Callable[[], Path]) -> Identity:
        """As it is kept in that folder; where it can't be kept, a UUID made of the name, and a warning."""
        mark = zlib.crc32(repr(attrs.evolve(options, uuid=None)).encode())
        try:
            file = folder() / FILE
            kept, version, old_mark = _read(file)
            uuid = (options.uuid or kept or str(uuid4())).lower()
            version += old_mark != mark
            write_whole(file, json.dumps({"uuid": uuid, "version": version, "mark": mark}))
        except (ConfigError, OSError) as error:
            _log.warning("the endpoint's UUID can't be kept, so it is made of the name", error=error)
            return cls((options.uuid or str(uuid5(NAMESPACE_DNS, options.name))).lower(), 1)
        return cls(uuid, version)


def _read(file: Path) -> tuple[str, int, int]:
    """The UUID, the version and what it is the version of; an empty UUID where nothing is kept.  Raises OSError."""
    try:
        kept = json.loads(file.read_text(encoding="ascii"))
        uuid, version, mark = kept["uuid"], kept["version"], kept["mark"]
    except (FileNotFoundError, ValueError, RecursionError, LookupError, TypeError):
        return "", 0, -1
    if isinstance(version, int) and 0 < version < MAX_VERSION and isinstance(uuid, str) and UUID.fullmatch(uuid):
        return uuid, version, mark
    return "", 0, -1

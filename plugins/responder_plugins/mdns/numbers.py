"""Which name each claim had on each link last: kept, so that a host that was renamed is not renamed at every start.

RFC 6762 section 9 wants the new name recorded.  A claim's *number* is 1 for the name as configured, 2 for the next
(`lab-2`), and so on.  `link` decides about names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from responder import ConfigError, get_logger
from responder_plugins.shared.kept_file import write_whole

MAX_LINKS: Final = 256
"""Links whose names are kept; the one that was renamed first is forgotten first."""

_log = get_logger(__name__)


class Numbers:
    """By link (an interface's name) and claim.  `folder` gives the folder to keep them in."""

    def __init__(self, folder: Callable[[], Path], instance: str) -> None:
        self._instance = instance
        self._file: Path | None = None
        self._numbers: dict[str, dict[str, int]] = {}
        try:
            self._file = folder() / "names.json"
            self._numbers = _checked(json.loads(self._file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            pass
        except (ConfigError, OSError, ValueError) as error:
            self._give_up(error)

    def of(self, link: str, claim: str) -> int:
        return self._numbers.get(link, {}).get(claim, 1)

    def keep(self, link: str, claim: str, number: int) -> None:
        """Remember a choice."""
        if link not in self._numbers and len(self._numbers) >= MAX_LINKS:
            del self._numbers[next(iter(self._numbers))]
        self._numbers.setdefault(link, {})[claim] = number
        if self._file is None:
            return
        try:
            write_whole(self._file, json.dumps(self._numbers, indent=2, ensure_ascii=False))
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if not isinstance(error, ValueError):
            self._file = None
        _log.warning("names that were chosen can't be kept", plugin=self._instance, error=str(error))


def _checked(kept: Any) -> dict[str, dict[str, int]]:
    """Raises ValueError for what `keep` did not write."""
    if not isinstance(kept, Mapping):
        raise ValueError("names.json holds no table")  # noqa: TRY004 - what is wrong is a file's content
    found: dict[str, dict[str, int]] = {}
    for link, claims in kept.items():
        if not isinstance(claims, Mapping) or not all(type(each) is int and each > 0 for each in claims.values()):
            raise ValueError(f"names.json holds no numbers for {link}")
        found[link] = dict(claims)
    return found

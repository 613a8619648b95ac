"""What etcd said last, in the state folder, so that a restart while etcd is away goes on with it.

One file, replaced as a whole: a first line, a line of JSON that says of which place and revision it is, one for each
service, and a checksum.  The file's time is when etcd answered last, so that an answer without news costs no writing.
What can't be read is as if it weren't there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import attrs
import trio

from responder import FileLock, Repeated, get_logger, wall_time
from responder_plugins.shared.kept_file import end_of_checked, write_checked
from responder_plugins.shared.threads import in_thread

from .services import Services
from .skydns import KeyedService

FIRST_LINE: Final = b"responderd etcd 1\n"

LARGEST: Final = 2**28
"""Bytes beyond which nothing is kept: a million services, and more memory than that."""

PAUSE: Final = 1.0
"""Seconds between two looks at what is known."""

END: Final = 5.0
"""Seconds that the last writing may wait for a thread."""

SHARE: Final = 20
"""So many times as long as a writing took is nothing written then."""

Place: TypeAlias = Mapping[str, str | list[str]]
"""What is followed: the fields of a JSON object."""

_log = get_logger(__name__)


@attrs.frozen
class LastKnown:
    """The services by their names; `heard` is when etcd answered last, in seconds since 1970."""

    revision: int
    services: Mapping[bytes, KeyedService]
    heard: float


class Followed(Protocol):
    """What is known now; `turn` is of who changes it, `heard` when etcd answered last, by trio's clock."""

    services: Services
    turn: trio.Lock
    cluster: str
    revision: int
    heard: float | None


class LastKnownFile:
    """That of one place.  Of several processes that follow it the one that holds the lock writes it."""

    def __init__(self, folder: Path, place: Place, instance: str) -> None:
        self._path = folder / "last-known"
        self._place = place
        self._instance = instance
        self._written: tuple[str, int] | None = None
        self._heard = 0.0
        self._repeated = Repeated(clock=trio.current_time)

    def read(self) -> LastKnown | None:
        """None: there is none of this place that is whole."""
        try:
            heard = self._path.stat().st_mtime
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("what etcd said last can't be read", plugin=self._instance, reason=str(error))
            return None
        try:
            return _unpacked(data, self._place, heard)
        except (TypeError, ValueError, LookupError) as error:
            message = "what etcd said last is damaged: etcd is waited for"
            _log.warning(message, plugin=self._instance, reason=str(error))
            return None

    def write(self, known: LastKnown) -> None:
        """Raises OSError, and ValueError where it is too large; what was there before is then still there."""
        lines = [FIRST_LINE, *_packed(known, self._place)]
        size = sum(map(len, lines))
        if size > LARGEST:
            raise ValueError(f"it would be a file of {size} bytes, of {LARGEST} that it may have")
        write_checked(self._path, lines, modified=known.heard)

    async def keep(self, followed: Followed) -> None:
        """Write what is known, as it changes, until cancelled, and then once more."""
        lock = FileLock(self._path.with_name("lead"))
        leads = False
        try:
            while True:
                began = trio.current_time()
                try:
                    leads = leads or lock.acquire(wait=False)
                except OSError as error:
                    self._fails(error)
                if leads:
                    await self._keep(followed)
                await trio.sleep(max(PAUSE, SHARE * (trio.current_time() - began)))
        finally:
            if leads:
                with trio.move_on_after(END, shield=True):
                    await self._keep(followed)
                lock.release()

    async def _keep(self, followed: Followed) -> None:
        if not followed.revision or followed.heard is None:
            return
        heard = followed.heard
        time = wall_time(heard)
        try:
            if self._written != (followed.cluster, followed.revision):
                async with followed.turn:
                    version = followed.cluster, followed.revision
                    services = await in_thread(followed.services.all)
                await in_thread(self.write, LastKnown(version[1], services, time))
                self._written = version
            elif self._heard != heard:  # etcd has answered, and said nothing new
                await in_thread(os.utime, self._path, (time, time))
            self._heard = heard
        except (OSError, ValueError) as error:
            self._written = None
            self._fails(error)

    def _fails(self, error: Exception) -> None:
        held_back = self._repeated.due("")
        if held_back is not None:
            message = "what etcd says can't be kept: after a restart without etcd its zones get SERVFAIL"
            _log.warning(message, plugin=self._instance, reason=str(error), held_back=held_back)


def _packed(known: LastKnown, place: Place) -> Iterator[bytes]:
    yield _line({**place, "revision": known.revision})
    for name, service in known.services.items():
        values = attrs.astuple(service)
        yield _line([name.hex(), *(each.hex() if isinstance(each, bytes) else each for each in values)])


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _unpacked(data: bytes, place: Place, heard: float) -> LastKnown | None:
    """None: it is of another place.  Raises TypeError, ValueError and LookupError."""
    head, *lines = data[len(FIRST_LINE) : end_of_checked(data, FIRST_LINE)].splitlines()
    about = json.loads(head)
    revision = about.pop("revision")
    if about != place:
        return None
    services = {}
    for name, address, target, port, priority, weight, text, *rest in map(json.loads, lines):
        found = KeyedService(
            bytes.fromhex(address), bytes.fromhex(target), port, priority, weight, bytes.fromhex(text), *rest
        )
        services[bytes.fromhex(name)] = found
    return LastKnown(revision, services, heard)

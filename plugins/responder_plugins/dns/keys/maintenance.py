"""The zones of an instance that are signed here: signed when they are loaded, and kept signed while they are served.

Of several processes that serve the same zones (`daemon.workers`) the one that has locked the state folder signs.  The
others follow the copies that it leaves there, so that all give the same signatures.  Work on a zone goes on in a
thread, and gives way to answers now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar
from weakref import WeakValueDictionary

import attrs
import trio

from responder import ConfigError, ConfigErrors, Context, FileLock, Network, Stamp, get_logger, stamp_of, wall_time

from ..zone.builder import name_text
from ..zone.changes import Change, difference, is_newer
from ..zone.tables import Zone
from . import signed_copy
from .key_files import file_name
from .zone_signer import ZoneSigner

FOLDER: Final = "signed"
"""Of the instance's state folder."""

LOOK: Final = 2.0
"""Seconds between two looks at what others may have changed: the folder of keys, the copies."""

AGAIN: Final = 60.0
"""Seconds until what has failed is tried again."""

T = TypeVar("T")

SOME_RECORDS: Final = 100
"""Records by which versions may differ, beside half as many as there are names, to be told as a difference."""


class Serving(Protocol):
    """What serves the zones."""

    def zone(self, origin: bytes) -> Zone | None: ...
    def replace(self, origin: bytes, zone: Zone) -> None: ...
    async def publish(self, zone: Zone, change: Change | None) -> None:
        """Serve a version that was signed here; `change` made it of the one before, as far as that is worth telling."""


_log = get_logger(__name__)

_live: WeakValueDictionary[tuple[object, ...], Zone] = WeakValueDictionary()
"""The signed zones that handlers hold, by origin and policy: of the process, as `zone.master_file` has the others."""


@attrs.define(eq=False)
class Signing:
    """`signers` by origin; `state` is the instance's state folder as far as it is known, maybe not there yet."""

    signers: Mapping[bytes, ZoneSigner]
    state: Path | None
    _saved: dict[bytes, Zone] = attrs.field(factory=dict, init=False)
    _read: dict[bytes, Stamp] = attrs.field(factory=dict, init=False)

    # Preparing

    def last(self, origin: bytes) -> Zone | None:
        """The signed zone that is in use."""
        signer = self.signers[origin]
        return _live.get((origin, signer.policy))

    def unchanged(self, origin: bytes, context: Context) -> Zone | None:
        """The same, where the files that it was read from are as they were."""
        zone = self.last(origin)
        if zone is None or not zone.files or any(stamp_of(each) != stamp for each, stamp in zone.files.items()):
            return None
        context.files.update(zone.files)
        for warning in zone.warnings:
            context.warn(warning)
        return zone

    def sign(self, zone: Zone, file: Path, context: Context) -> Zone:
        """The zone of a file, signed; as it is where it has no keys yet, which `run` makes.  Raises ConfigErrors."""
        signer = self.signers[zone.origin]
        signer.refuse_signed(zone, file)
        for doubt in signer.doubts(zone):
            context.warn(ConfigError(f"zone {name_text(zone.origin)}: {doubt}", path=signer.path))
        before = self.last(zone.origin) or self._copy(signer, self.state)
        if before is not None and zone.origin not in self._saved:
            self._saved[zone.origin] = before
        keys = signer.load_keys()
        # A rollover that was due meanwhile, as it will be written by `run`; nothing of it is made up here.
        signed = signer.sign(zone, keys, before, wall_time())
        if signed.chain is not None:
            _live[zone.origin, signer.policy] = signed
        return signed

    def _copy(self, signer: ZoneSigner, state: Path | None) -> Zone | None:
        if state is None:
            return None
        path = self._path(signer.origin, state)
        self._read[signer.origin] = stamp_of(path)
        return signed_copy.read(path, signer.origin)

    @staticmethod
    def _path(origin: bytes, state: Path) -> Path:
        return state / FOLDER / f"zone-{file_name(origin)}copy"

    # Serving

    async def run(self, network: Network, serving: Serving) -> None:
        """Sign, or follow who does."""
        state = network.state_dir
        lock = FileLock(state / FOLDER / ".lock")
        while not lock.acquire(wait=False):
            await self._follow(state, serving)
            await trio.sleep(LOOK)
        try:
            async with trio.open_nursery() as nursery:
                for signer in self.signers.values():
                    nursery.start_soon(self._keep, signer, state, network.instance, serving)
        finally:
            lock.release()

    async def _follow(self, state: Path, serving: Serving) -> None:
        for origin, signer in self.signers.items():
            if stamp_of(self._path(origin, state)) != self._read.get(origin):
                zone = await trio.to_thread.run_sync(self._copy, signer, state, abandon_on_cancel=True)
                if zone is not None:
                    _live[origin, signer.policy] = zone
                    self._saved[origin] = zone
                    serving.replace(origin, zone)

    async def _keep(self, signer: ZoneSigner, state: Path, instance: str, serving: Serving) -> None:
        while True:
            zone = serving.zone(signer.origin)
            seen = stamp_of(signer.folder.path)
            until = wall_time() + AGAIN
            if zone is not None:
                try:
                    before = self._saved.get(signer.origin) or await _in_thread(self._copy, signer, state)
                    renewed = await _in_thread(signer.renew, zone, before, wall_time())
                    if renewed.chain is not None and renewed is not before:
                        change = await _in_thread(self._keep_copy, renewed, before, state)
                        if serving.zone(signer.origin) is not zone:
                            continue  # another version has come meanwhile
                        _live[signer.origin, signer.policy] = renewed
                        await serving.publish(renewed, change)
                        _tell(signer, renewed, instance)
                    zone = renewed
                    until = signer.next_time(zone, wall_time())
                except (OSError, ConfigErrors) as error:
                    _log.error(
                        "a zone can't be signed", plugin=instance, zone=name_text(signer.origin), reason=str(error)
                    )
            while True:
                await trio.sleep(LOOK)
                if (
                    wall_time() >= until
                    or stamp_of(signer.folder.path) != seen
                    or serving.zone(signer.origin) is not zone
                ):
                    break

    def _keep_copy(self, zone: Zone, before: Zone | None, state: Path) -> Change | None:
        """Keep a version that is to be served: on the disk when this returns.  What made it of the last one.

        Raises OSError.
        """
        path = self._path(zone.origin, state)
        signed_copy.write(path, zone)
        self._read[zone.origin] = stamp_of(path)
        self._saved[zone.origin] = zone
        if before is None or not is_newer(zone.serial, before.serial):
            return None
        return difference(before, zone, SOME_RECORDS + len(before.nodes) // 2)


def _tell(signer: ZoneSigner, zone: Zone, instance: str) -> None:
    _log.info(
        "a zone was signed",
        plugin=instance,
        zone=name_text(zone.origin),
        serial=zone.serial,
        signatures=signer.made,
    )


async def _in_thread(function: Callable[..., T], *arguments: object) -> T:
    return await trio.to_thread.run_sync(partial(function, *arguments), abandon_on_cancel=True)

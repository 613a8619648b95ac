"""coap-disk: how much room a disk has left, by CoAP."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import trio
from responder import Context
from responder_plugins.coap import Coap, Content, Resource, Unavailable


class Room(Resource):
    """The megabytes that are left on the disk of a folder."""

    attributes: Mapping[str, str | int | bool] = {"rt": "disk-room", "title": "MB left", "ct": 0}
    observable = True  # it is looked at every two seconds while somebody observes it

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def get(self, queries: Sequence[str]) -> Content:
        try:
            usage = await trio.to_thread.run_sync(shutil.disk_usage, self.folder)
        except OSError as error:
            raise Unavailable("no such folder") from error
        return Content(str(usage.free // 1_000_000).encode(), max_age=10)


@attrs.frozen
class CoapDisk(Coap):
    """Tells how much room a disk has left, beside what coap serves.

    folder  on that disk
    path    where it is found
    """

    folder: Path = Path("/")
    path: str = "/disk"

    def more_resources(self, context: Context) -> Mapping[str, Resource]:
        return {self.path: Room(self.folder)}

"""Answers read requests, each by a transfer from a port of its own.  Nothing is ever written."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import trio

from responder import Answer, ConfigError, Context, Datagram, Exchange, Handler, IPAddress, Peer, Via

from ..shared.file_threads import FileThreads
from ..shared.refused import Refused
from .files import CHUNK, Blocks, Opening, Outside
from .message import (
    MODES,
    WRITE,
    Code,
    Request,
    agree,
    is_error,
    read_request,
    words_of,
    write_error,
    write_option_acknowledgment,
)
from .transfer import Ended, Transfer

if TYPE_CHECKING:
    from . import Tftp

MAX_WINDOW: Final = 64
"""Blocks of a window: more than that are lost together."""

RESTARTED: Final = 5.0
"""Seconds of silence after which the same request from the same port is a peer's that was started anew."""

Key: TypeAlias = tuple[Peer, IPAddress, int]
"""A peer with its port, the address that it asked, and the interface that it came by."""


def prepare(options: Tftp, context: Context) -> TftpHandler:
    """Raises ConfigError where the root is no folder."""
    # Not by `Context.path`: what is in the folder is looked at anew for each request, so no change of it is a reload.
    folder = context.folder / options.root
    try:
        root = folder.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"can't be read: {reason}", path="root", file=folder) from error
    if not root.is_dir():
        raise ConfigError("is no folder", path="root", file=folder)
    return TftpHandler(root, Running(options.max_transfers, options.max_per_peer))


@attrs.define(eq=False)
class Place:
    """One transfer's.  `heard_at` is when its peer last said something, a moment of trio's clock; None: not yet."""

    request: bytes
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    heard_at: float | None = attrs.field(default=None, init=False)


@attrs.define(eq=False)
class Running:
    """The transfers that go on, bounded: who has said nothing yet gives way to a new one, the oldest first.

    A forged source says nothing, so those of a flood give way to each other and to the peers that are there.
    """

    limit: int
    limit_per_peer: int
    places: dict[Key, Place] = attrs.field(factory=dict, init=False)
    _silent: OrderedDict[Key, None] = attrs.field(factory=OrderedDict, init=False)
    _of_peer: Counter[IPAddress] = attrs.field(factory=Counter, init=False)

    def is_repeated(self, key: Key, request: bytes) -> bool:
        """Is that request being answered already, to a peer that may still be there?"""
        place = self.places.get(key)
        if place is None or place.request != request:
            return False
        return place.heard_at is None or trio.current_time() - place.heard_at < RESTARTED

    def begin(self, key: Key, request: bytes) -> Place | None:
        """A place for a transfer; None: there is none.  Another one from the same port gives way to it."""
        self.end(key)
        address = key[0].address
        if self._of_peer[address] >= self.limit_per_peer:
            return None
        if len(self.places) >= self.limit:
            if not self._silent:
                return None
            self.end(next(iter(self._silent)))
        place = self.places[key] = Place(request)
        self._silent[key] = None
        self._of_peer[address] += 1
        return place

    def hear(self, key: Key, place: Place) -> None:
        """The peer has said something, and so is where its request said."""
        if place.heard_at is None and self.places.get(key) is place:
            del self._silent[key]
        place.heard_at = trio.current_time()

    def end(self, key: Key, place: Place | None = None) -> None:
        """Give a place back, and end its transfer; where `place` is given, only if it is still that one."""
        held = self.places.get(key)
        if held is None or place not in (None, held):
            return
        held.scope.cancel()
        del self.places[key]
        self._silent.pop(key, None)
        address = key[0].address
        self._of_peer[address] -= 1
        if not self._of_peer[address]:  # a Counter keeps zeros, and peers choose the keys
            del self._of_peer[address]


@attrs.define(eq=False)
class TftpHandler(Handler):
    """Serves the files below `root`, an absolute path without links."""

    root: Path
    running: Running
    threads: FileThreads = attrs.field(factory=FileThreads)
    counted: Counter[str] = attrs.field(factory=Counter, init=False)

    def respond(self, request: Datagram) -> Answer:
        """Begin a transfer.  Raises PeerError for what is no request to this port."""
        if request.via is not Via.UNICAST:
            self.counted["not-unicast"] += 1
            return None  # RFC 1123 section 4.2.3.5
        try:
            asked = read_request(request.payload)
        except Refused as error:
            self.counted[error.kind] += 1
            raise
        if asked.opcode == WRITE:
            return self._error("write-refused", Code.ACCESS_VIOLATION, "read only")
        if asked.mode not in MODES:
            return self._error("bad-mode", Code.ILLEGAL_OPERATION, "mode is neither octet nor netascii")
        return self._serve(request, asked)

    def _error(self, kind: str, code: Code, text: str) -> bytes:
        self.counted[kind] += 1
        return write_error(code, text)

    async def _serve(self, request: Datagram, asked: Request) -> bytes | None:
        """Send the file; or say why not."""
        key = request.peer, request.destination, request.interface.index
        if self.running.is_repeated(key, request.payload):
            self.counted["repeated"] += 1
            return None
        place = self.running.begin(key, request.payload)
        if place is None:
            self.counted["busy"] += 1
            return None
        try:
            with place.scope:
                return await self._send(request, asked, lambda: self.running.hear(key, place))
            self.counted["gave-way"] += 1
            return None
        finally:
            self.running.end(key, place)

    async def _send(self, request: Datagram, asked: Request, heard: Callable[[], None]) -> bytes | None:
        opening = Opening(self.root, asked.name)
        try:
            file, size = await self.threads.run(opening.open)
        except trio.Cancelled:
            opening.give_up()
            raise
        except Outside:
            return self._error("outside", Code.ACCESS_VIOLATION, "no such name here")
        except PermissionError:
            return self._error("unreadable", Code.ACCESS_VIOLATION, "it may not be read")
        except OSError:
            return self._error("not-found", Code.FILE_NOT_FOUND, "no such file")
        is_netascii = asked.mode == "netascii"
        # A size that translation changes isn't known before (RFC 2349).
        terms, told = agree(asked.options, None if is_netascii else size, MAX_WINDOW, CHUNK)
        with closing(file):
            blocks = Blocks(file, terms.block_size, is_netascii)
            async with request.conversation(stranger=_meet_stranger) as conversation:
                self.counted["begun"] += 1
                try:
                    transfer = Transfer(conversation, blocks, terms, heard, self.threads)
                    await transfer.run(write_option_acknowledgment(told) if told else None)
                except Ended as error:
                    self.counted[error.kind] += 1
                else:
                    self.counted["done"] += 1
        return None

    def succeed(self, predecessor: Handler) -> None:
        """Transfers that go on stay counted, and hold their places."""
        if isinstance(predecessor, TftpHandler):
            mine, self.running = self.running, predecessor.running
            self.running.limit, self.running.limit_per_peer = mine.limit, mine.limit_per_peer

    def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
        return words_of(exchange.request, exchange.answers)

    def counts(self) -> Mapping[str, int]:
        """Requests by what became of them."""
        return self.counted


def _meet_stranger(payload: bytes, _peer: Peer) -> bytes | None:
    """Section 4: whoever sends to another's transfer is told, and the transfer goes on."""
    return None if is_error(payload) else write_error(Code.UNKNOWN_TRANSFER_ID, "unknown transfer ID")

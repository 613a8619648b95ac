"""Follows etcd for the zones of an instance: lists all that is there, then watches it.

Endpoints are tried in their order, with growing pauses.  What an endpoint knows is asked for anew where the revision to
go on from is compacted, or it is of another cluster, or of an older state of it (a restored one).  An endpoint must
answer a question every `PROBE` seconds: a watch may be silent because nothing happens, or because nobody is there.

While etcd is away the last known answers are served, up to `stale` seconds, and their age is told; then SERVFAIL.  They
are in the state folder, too, so that a restart goes on with them.
"""

from __future__ import annotations

import random
import ssl
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

import attrs
import trio

from responder import ConfigErrors, Context, get_logger, wall_time

from ...shared.threads import in_thread
from ..encrypted import pem
from ..message import wire
from ..zone.edit import Edit
from ..zone.tables import Zone
from .client import CompactedError, EtcdClient, EtcdError, Event
from .last_known import LastKnownFile, Place
from .services import Services
from .skydns import KeyedService, read_name, read_value

if TYPE_CHECKING:
    from ..options import Etcd

PROBE: Final = 10.0
"""Seconds between two questions to the endpoint that is watched."""

FIRST_PAUSE, LAST_PAUSE = 1.0, 30.0
"""Seconds before all endpoints are tried again; doubled each time."""

GATHER: Final = 0.05
"""Seconds for which changes are gathered once some have been put in use."""

LARGE: Final = 500
"""Names whose services changed, beyond which a zone is made anew and not changed in place."""

AGES: Final = (60.0, 600.0, 3600.0, 6 * 3600.0, 86400.0)
"""Seconds without etcd after which that is told again."""

QUIET: Final = 60.0
"""Seconds after which it is told again that zones change."""

FOLDER: Final = "etcd"
"""Of the instance's state folder."""

SOME: Final = 3
"""Keys that a warning tells of many."""

_log = get_logger(__name__)


class Server(Protocol):
    """What serves the zones: `DnsHandler`."""

    def replace(self, origin: bytes, zone: Zone | None) -> None: ...
    def changed(self, origin: bytes) -> None: ...


@attrs.define(eq=False)
class _State:
    """What is known, which a reload hands on.

    zones     by origin; None: not known yet, or for too long not heard of
    behind    the names whose services have changed, and whose records have not
    turn      of who changes services and zones: a reload may come in the middle of it
    cluster, revision  what is known is of; revision 0: nothing was listed yet
    heard     when an endpoint answered last, in seconds of trio's clock
    restored  when that was, in seconds since 1970, before the restart that what is known comes from
    """

    services: Services
    zones: dict[bytes, Zone | None]
    behind: set[bytes] = attrs.field(factory=set)
    turn: trio.Lock = attrs.field(factory=trio.Lock)
    cluster: str = ""
    revision: int = 0
    heard: float | None = None
    restored: float | None = None


class Follower:
    """The zones of one instance, by their origins."""

    def __init__(self, options: Etcd, origins: Iterable[bytes], context: Context) -> None:
        """Raises ConfigErrors for certificates that can't be used."""
        self._options = options
        self._prefix = options.path.rstrip("/").encode() + b"/"
        origins = tuple(origins)
        self._state = _State(Services(origins), dict.fromkeys(origins))
        self._replaced = False
        self._instance, self._folder = context.instance, context.folder
        self._place: Place = {
            "path": options.path,
            "endpoints": list(options.endpoints),
            "zones": sorted(origin.hex() for origin in origins),
        }
        state = context.state_dir
        self._file = None if state is None else LastKnownFile(state / FOLDER, self._place, context.instance)
        self._told: dict[str, str] = {}
        self._away = False
        self._changes_told = -inf
        self.counts: Counter[str] = Counter()
        trusted(options, context)

    def served(self) -> Mapping[bytes, Zone | None]:
        return self._state.zones

    @property
    def revision(self) -> int:
        """Of etcd's store, which the zones are of; 0: they are of none yet."""
        return self._state.revision

    @property
    def away(self) -> float:
        """The last of `AGES` that etcd has been away for; 0: none, or what it says is not known yet."""
        if not self._away or self._state.heard is None:
            return 0.0
        age = trio.current_time() - self._state.heard
        return max((each for each in AGES if each <= age), default=0.0)

    def succeed(self, predecessor: Follower) -> None:
        """Go on with what it knows, where that is about the same zones of the same place."""
        if predecessor._place == self._place:
            self._state, predecessor._replaced = predecessor._state, True
            self._away, self._told = predecessor._away, predecessor._told

    def load(self) -> None:
        """What etcd said before a restart, where that is not too old; in the thread of `prepare`."""
        known = None if self._file is None else self._file.read()
        if known is None:
            return
        age = wall_time() - known.heard
        if age > self._options.stale:
            _log.warning("what etcd said last is too old to be served", plugin=self._instance, age=round(age))
            return
        state = self._state
        for name, service in known.services.items():
            state.services.put(name, service)
        for origin in state.zones:
            state.zones[origin] = state.services.zone_of(origin, known.revision)
        state.restored = known.heard

    async def run(self, server: Server) -> None:
        """Until cancelled."""
        state = self._state
        async with state.turn:  # the one before may have been in the middle of it
            for origin, zone in state.zones.items():
                server.replace(origin, zone)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_age, server)
            if self._file is not None:
                nursery.start_soon(self._file.keep, state)
            pause = FIRST_PAUSE
            while True:
                for endpoint in self._options.endpoints:
                    failure = await self._follow(endpoint, server)
                    if failure is None or self._replaced:
                        nursery.cancel_scope.cancel()
                        return
                    if not self._away:  # it has answered meanwhile
                        pause = FIRST_PAUSE
                    self._note_failure(endpoint, failure)
                await trio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - so that hosts don't come at once
                pause = min(2 * pause, LAST_PAUSE)

    async def _follow(self, endpoint: str, server: Server) -> EtcdError | None:
        """Until it fails; None: another follower goes on."""
        try:
            verify = await in_thread(trusted, self._options, Context(self._instance, self._folder))
        except ConfigErrors as broken:
            return EtcdError(str(broken.errors[0]))
        client = EtcdClient(endpoint, verify, self._options.user, self._options.password)
        try:
            async with client:
                await client.authenticate()
                while not self._replaced:
                    await self._list_unless_known(client, server)
                    try:
                        await self._watch(client, server)
                    except CompactedError:
                        self.counts["etcd-compacted"] += 1
                        self._state.revision = 0
        except EtcdError as error:
            return error
        return None

    async def _list_unless_known(self, client: EtcdClient, server: Server) -> None:
        """Raises EtcdError."""
        header = await client.head(self._prefix)
        self._note_contact()
        state = self._state
        if not state.revision or header.cluster != state.cluster or header.revision < state.revision:
            header, events = await client.everything(self._prefix)
            async with state.turn:
                await self._put_in_use(server, header.revision, events, are_all=True)
                state.cluster, state.revision = header.cluster, header.revision
            self.counts["etcd-listed"] += 1
            count = len(state.services.all())
            _log.info("zones of etcd are served", plugin=self._instance, services=count, revision=header.revision)
        else:
            async with state.turn:
                await self._put_in_use(server, state.revision, ())  # what was too old for a while

    async def _watch(self, client: EtcdClient, server: Server) -> None:
        """Raises EtcdError."""
        failures: list[EtcdError] = []
        async with trio.open_nursery() as nursery:

            async def probe() -> None:
                while True:
                    await trio.sleep(PROBE)
                    try:
                        await client.head(self._prefix)
                    except EtcdError as error:
                        failures.append(error)
                        nursery.cancel_scope.cancel()
                        return
                    self._note_contact()

            nursery.start_soon(probe)
            try:
                await client.watch(self._prefix, self._state.revision + 1, partial(self._take, server))
            except EtcdError as error:
                failures.append(error)
            nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]

    async def _take(self, server: Server, revision: int, events: Sequence[Event]) -> None:
        if not events:
            return
        async with self._state.turn:
            if self._replaced:
                return
            changed = await self._put_in_use(server, revision, events)
            self._state.revision = revision
        if changed:
            self.counts["etcd-changes"] += 1
            if trio.current_time() - self._changes_told >= QUIET:
                self._changes_told = trio.current_time()
                _log.info("zones of etcd change", plugin=self._instance, names=changed, revision=revision)
        self._note_contact()
        await trio.sleep(GATHER)

    async def _put_in_use(
        self, server: Server, revision: int, events: Sequence[Event], *, are_all: bool = False
    ) -> int:
        """Serve what the events say, in one's turn; of how many names the services changed.

        What takes long is done in threads: nobody else changes services or zones meanwhile.  Where this is cancelled,
        the names that are `behind` are seen to the next time.
        """
        state = self._state
        if events or are_all:
            await in_thread(self._take_in, events, are_all)
        for origin, zone in state.zones.items():
            names = [name for name in state.behind if wire.is_below(name, origin)]
            if zone is None or len(names) > LARGE:
                fresh = await in_thread(state.services.zone_of, origin, revision)
                state.zones[origin] = fresh
                server.replace(origin, fresh)
            elif names:
                edit = await in_thread(self._edit_of, zone, names, revision)
                if edit is not None:
                    edit.commit()
                    server.changed(origin)
        count = len(state.behind)
        state.behind.clear()
        return count

    def _take_in(self, events: Iterable[Event], are_all: bool) -> None:
        """Change the services by the events; `are_all`: there are no others."""
        state = self._state
        read = self._read(events)
        if are_all:
            there = {name for name, service in read if service is not None}
            read = [(name, None) for name in state.services.all() if name not in there] + read
        for name, service in read:
            if state.services.get(name) != service:
                state.behind.add(name)
                if service is None:
                    state.services.delete(name)
                else:
                    state.services.put(name, service)

    def _edit_of(self, zone: Zone, names: Iterable[bytes], revision: int) -> Edit | None:
        change = self._state.services.change_of(zone, names, revision)
        return None if change is None else Edit(zone, change)

    def _read(self, events: Iterable[Event]) -> list[tuple[bytes, KeyedService | None]]:
        """What keys mean that are in our zones; None: nothing any more."""
        found: list[tuple[bytes, KeyedService | None]] = []
        malformed: list[str] = []
        for event in events:
            try:
                name = read_name(event.key, self._prefix)
            except ValueError as error:
                if event.value is not None:
                    malformed.append(f"{_printable(event.key)}: {error}")
                continue
            if not self._state.services.origins(name):
                continue
            service = None
            if event.value is not None:
                try:
                    service = read_value(event.value)
                except ValueError as error:
                    malformed.append(f"{_printable(event.key)}: {error}")
            found.append((name, service))
        if malformed:
            self.counts["etcd-malformed"] += len(malformed)
            some = "; ".join(malformed[:SOME]) + (" ..." if len(malformed) > SOME else "")
            _log.warning("keys are passed over", plugin=self._instance, count=len(malformed), reason=some)
        return found

    # Away

    def _note_contact(self) -> None:
        self._state.heard = trio.current_time()
        self._told.clear()
        if self._away:
            self._away = False
            _log.info("etcd answers again", plugin=self._instance)

    def _note_failure(self, endpoint: str, error: EtcdError) -> None:
        self._away = True
        self.counts["etcd-failures"] += 1
        reason = str(error)
        if self._told.get(endpoint) != reason:
            self._told[endpoint] = reason
            _log.warning("an endpoint of etcd fails", plugin=self._instance, endpoint=endpoint, reason=reason)

    async def _watch_age(self, server: Server) -> None:
        """Tell the age of what is served now and then, and end that when it is too old."""
        state = self._state
        if state.heard is None and state.restored is not None:
            state.heard = trio.current_time() - max(wall_time() - state.restored, 0.0)
        told = 0.0
        while not self._replaced:
            await trio.sleep(min(10.0, self._options.stale / 4))
            if not self._away or state.heard is None or not any(state.zones.values()):
                told = 0.0
                continue
            age, reached = trio.current_time() - state.heard, self.away
            if age > self._options.stale:
                _log.error("etcd is away for too long: its zones get SERVFAIL", plugin=self._instance, age=round(age))
                for origin in state.zones:
                    state.zones[origin] = None
                    server.replace(origin, None)
            elif reached > told:
                told = reached
                message = f"etcd is away for {round(age)} s: what it said last is served"
                _log.warning(message, plugin=self._instance, age=round(age))


def trusted(options: Etcd, context: Context) -> ssl.SSLContext:
    """What an endpoint by HTTPS is asked with.  Raises ConfigErrors."""
    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.ca is not None:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        pem.trust(made, options.ca, context, "etcd.ca")
    if options.certificate is not None and options.key is not None:
        pem.use(made, options.certificate, options.key, context, "etcd")
    return made


def _printable(key: bytes) -> str:
    return key[:200].decode(errors="backslashreplace")

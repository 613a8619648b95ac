"""The whole plugin contract, in one file to read.

A plugin is a frozen attrs class under `Plugin`.  Its fields are its options, its services are data, its behaviour is
one method:

    @attrs.frozen
    class Greeter(Plugin):
        '''Tells each client by which address and interface it came.'''

        greeting: str = "hello"

        services: ClassVar = (Service(port=7007),)

        def respond(self, request: Datagram) -> Answer:
            return f"{self.greeting}: {request.destination} on {request.interface.name}".encode()

It is found through the entry-point group `responder.plugins`.  An *instance* is a plugin with options, as one table of
the config makes it; there may be several instances of one plugin, and several on one port.  In the life of an instance

1. `prepare(context)` runs in a thread, at `check`, start and reload, and returns the handler that answers: the plugin
   itself, or, where there is state, an object of its own (see `Handler`).
2. The framework opens the ports, and calls the handler's `respond` for each datagram that the instance may answer,
   `converse` for each TCP connection, `run` once, for background work, and, when somebody looks at the status, `counts`
   and `notes`.
3. At a reload that changes the instance, and at the end, `Network.stopping` fires; `run` has a grace period for its
   goodbyes and is then cancelled.

Everything runs in one trio task tree and one thread, `prepare` and `blocking` services excepted: `respond` must not
block, and needs no locks.  Time is trio's clock, so that tests run on a fake one.

What the framework does with an answer: it goes back to the peer, from the address that was asked, or for a multicast or
broadcast request from the arrival interface's own address and out of that interface.  A handler that raises loses that
datagram and nothing else: it is counted and logged once a kind.  See `responder.errors.PeerError` for bad packets.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Protocol, TypeAlias

import attrs
from attrs.validators import and_, ge, gt, instance_of, le, lt, optional

from .datagram import IS_HOP_LIMIT, Datagram, Group, Interface, InterfaceChange, IPAddress, Peer, Reply, to_groups
from .errors import ConfigError
from .files import Stamp, decoded, read_file, stamp_of
from .progress import progress_watcher

if TYPE_CHECKING:
    import trio

API_VERSION: Final = 1
"""Raised when a plugin written for an older contract no longer works; a plugin names its own in `Plugin.api`."""


class Pass(enum.Enum):
    """The type of `PASS`."""

    PASS = "PASS"  # noqa: S105 - the linter takes it for a password

    def __repr__(self) -> str:
        return "PASS"


PASS: Final = Pass.PASS
"""Not mine: the next instance on this port is asked, in config order."""

OneAnswer: TypeAlias = bytes | Reply
SyncAnswer: TypeAlias = OneAnswer | Iterable[OneAnswer] | Pass | None
Answer: TypeAlias = SyncAnswer | Awaitable[SyncAnswer] | AsyncIterator[OneAnswer]
"""What `respond` may return: bytes, a `Reply`, several of them, None (taken, in silence), `PASS`, or an awaitable or
async iterator of those.  The latter two are awaited in tasks, bounded in number and time by `max_pending` and
`answer_timeout`; an async iterator can't pass.  One beyond `max_pending` is never awaited: where it has a `close()`, as
a coroutine has, that is called at once.  (A `blocking` service is then not asked at all.)"""

_IS_BOUND = optional(and_(ge(0), lt(float("inf"))))


@attrs.frozen(kw_only=True)
class Service:
    """A port that a plugin serves: data, read by the framework, overlaid by the instance's keys of the same names.

    port               the UDP port; 0: the system chooses, and `Network.port()` tells
    name               what tells several services of one plugin apart; the config then has `ports.NAME`
    groups             multicast groups to join, of either family, on every interface that the instance may use; with
                       "232.1.2.3@10.0.0.9" (`SourceGroup`) only for what that source sends (RFC 4607)
    hop_limit          of what is sent (IPv4's TTL, IPv6's hop limit); None: the system's
    udp, tcp           what is bound: with `tcp` each connection to that port is handed to `Handler.converse`
    tcp_hop_limit      of TCP, the answer to a connection's first segment included; None: the system's
    may_pass           connections may go on to the next instance (`PASS`); False: `check` warns of one that gets none
    shared             others may bind this port as well (SO_REUSEADDR), as mDNS and SSDP need it
    blocking           `respond` may block: it is called in a bounded number of threads
    needs_destination  drop, and count, a datagram whose destination the platform did not tell

    The rest are defaults of instance keys, which an operator may set otherwise:

    on_link            answer only peers on the arrival interface's own link, as link-scoped protocols do (VU#550620); a
                       protocol that also demands a hop limit of 255 looks at `Datagram.hop_limit`
    rate               answers a second to a source prefix (/24, /56), with a burst of as many; None or 0: no bound.  A
                       conversation counts once, when it is opened; see also `Handler.over_rate`
    amplification      bytes out to a source prefix for each byte in; None or 0: no bound.  In a conversation it holds
                       until the peer has said something there: see `responder.datagram.Conversation`
    max_answer         bytes of one answer; a longer one is dropped and counted
    max_pending        awaited answers in flight; a datagram beyond it is dropped and counted
    answer_timeout     seconds that an awaited answer may take
    max_connections    TCP connections at a time; beyond it the longest idle one gives way, of those who hold the most
    connections_per_peer  those of an IPv4 address or IPv6 /64; beyond it one of its own gives way; None or 0: no bound
    """

    port: int = attrs.field(validator=[ge(0), le(0xFFFF)])
    name: str = "default"
    groups: tuple[Group, ...] = attrs.field(default=(), converter=to_groups)
    hop_limit: int | None = attrs.field(default=None, validator=IS_HOP_LIMIT)
    udp: bool = True
    tcp: bool = False
    tcp_hop_limit: int | None = attrs.field(default=None, validator=IS_HOP_LIMIT)
    may_pass: bool = True
    shared: bool = False
    blocking: bool = False
    needs_destination: bool = True
    on_link: bool = False
    rate: float | None = attrs.field(default=None, validator=_IS_BOUND)
    amplification: float | None = attrs.field(default=None, validator=_IS_BOUND)
    max_answer: int = 65507
    max_pending: int = attrs.field(default=256, validator=[instance_of(int), ge(1)])
    answer_timeout: float = attrs.field(default=30.0, validator=[gt(0), lt(float("inf"))])
    max_connections: int = attrs.field(default=100, validator=[instance_of(int), ge(1)])
    connections_per_peer: int | None = attrs.field(default=None, validator=_IS_BOUND)

    def __attrs_post_init__(self) -> None:
        if not self.udp and (not self.tcp or self.groups):
            raise ValueError(f"udp: a service {'with groups' if self.groups else 'without TCP'} needs it")


@attrs.define
class Context:
    """What `prepare` may use: who it is, and files relative to the configuration's folder.

    Each file read through it is named in `files` with its stamp, so that a reload knows whether it changed.

    state_dir  the folder that `Network.state_dir` will make, to read what an earlier run left there: it may be missing,
               and `prepare` writes nothing, since `check` prepares too; None: nobody knows it
    """

    instance: str
    folder: Path = attrs.field(factory=Path.cwd)
    state_dir: Path | None = None
    files: dict[Path, Stamp] = attrs.field(factory=dict, init=False)
    complaints: list[ConfigError] = attrs.field(factory=list, init=False)
    warnings: list[ConfigError] = attrs.field(factory=list, init=False)

    def progress(self, share: float) -> None:
        """How much of the work is done, from 0 to 1, told now and then, and 1 at the end however that comes.

        People see it where the work takes longer than a second.
        """
        if watcher := progress_watcher.get():
            watcher(self.instance, share)

    def complain(self, error: ConfigError) -> None:
        """A mistake in a part that the handler does without: `check` reports it, start and reload log it."""
        self.complaints.append(error)

    def warn(self, error: ConfigError) -> None:
        """Something served as it stands that the operator may not have meant: told by `check`, start and reload."""
        self.warnings.append(error)

    def path(self, name: str | Path) -> Path:
        """The file's absolute path, noted in `files`; it may be missing."""
        path = (self.folder / name).absolute()
        # Before it is read: a change in between is then seen by the next reload.
        self.files[path] = stamp_of(path)
        return path

    def read_bytes(self, name: str | Path, *, key: str = "") -> bytes:
        """The file's content.  Raises ConfigError, naming the file and `key`, the option that names it."""
        return read_file(self.path(name), key=key)

    def read_text(self, name: str | Path, *, key: str = "") -> str:
        """The same in UTF-8.  Raises ConfigError, with the line, where it is not UTF-8."""
        return decoded(self.read_bytes(name, key=key), file=self.path(name), key=key)


Transport: TypeAlias = Literal["udp", "tcp"]

StopReason: TypeAlias = Literal["stop", "replaced"]
"""Why a handler's time ends: the daemon ends, or a reload made a new handler."""


class Stopping(Protocol):
    """Fires when the handler's time ends, with the reason."""

    @property
    def reason(self) -> StopReason | None:
        """None until it fires."""

    async def wait(self) -> StopReason:
        """Return the reason once it fires, at once if it has."""


class Network(Protocol):
    """What `Handler.run` sees of the world: its own ports, and the interfaces that its instance may use."""

    @property
    def instance(self) -> str:
        """The instance's name in the config."""

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces as they are now, by index; those that the instance's `interfaces` excludes are not there."""

    def interface(self, index: int) -> Interface | None:
        """One of `interfaces`, or None where there is none now."""

    def changes(self) -> AsyncIterator[InterfaceChange]:
        """What happens to those interfaces from this call on: `async for change in network.changes():`.

        Damped: an interface's changes are told once it has been quiet for a moment (`settle`, 0.3 s), or, where it goes
        on flapping, every tenfold of that, as what is different then; a link that went down and up again meanwhile
        tells nothing.  The same holds for a plugin that is slow to take them: nothing piles up.  An interface that is
        renamed into or out of the instance's `interfaces` appears or disappears.  `interfaces` is not damped, and may
        be ahead of what is told here.  The iteration ends when `stopping` fires.
        """

    def port(self, service: str = "default") -> int:
        """The port that a service has got, also where 0 was asked for."""

    @property
    def stopping(self) -> Stopping:
        """Fires when it is time for goodbyes; sending still works then, for the grace period."""

    @property
    def state_dir(self) -> Path:
        """A folder of the instance's own that outlives restarts, made when first asked for.

        Raises ConfigError where it can't be made.
        """

    async def send(
        self,
        payload: bytes,
        *,
        to: Peer | IPAddress | str | Datagram,
        interface: Interface | int | str | None = None,
        service: str = "default",
        hop_limit: int | None = None,
    ) -> None:
        """Send unasked, from a service's port.

        `to` without a port means the service's own.  A group or a broadcast address needs `interface`, the one to send
        from; the source is that interface's own address of the right family and scope.  For a unicast address the
        routing table chooses, unless `interface` is given.  A datagram that was heard stands for the way of its answer:
        to its peer, from the address and the service that it asked.

        Raises `responder.errors.SendError` for what no plugin can exclude, and has to survive: the system refuses (a
        firewall, no route), or the interface is gone, was renamed, or has no address of that family (then
        `SourceUnavailable`).  Raises ValueError for what can't be meant: a group without `interface`, port 0.
        """


@attrs.frozen(eq=False, kw_only=True)
class Connection:
    """A TCP connection to a service with `tcp=True`; the fields are those of `Datagram`.

    Reading is `await stream.receive_some()`, writing `await stream.send_all(...)`.  The framework closes the stream
    when `converse` returns or raises.  `last`: no other instance gets the connection after this one; `put_back` makes
    what was read be read again, by the next instance after a PASS.
    """

    stream: trio.abc.HalfCloseableStream
    peer: Peer
    destination: IPAddress
    interface: Interface
    service: str
    port: int
    arrival: float
    last: bool = True
    put_back: Callable[[bytes], None] = lambda _data: None


@attrs.frozen
class Exchange:
    """What came in, and what was sent for it, for `Handler.describe`.

    transport  "udp" or "tcp"
    port       our own
    request    a datagram's payload, or what a connection was sent since the last write; None where nothing came in
    answers    the payloads that went out, or what was written to a connection at once; often none
    """

    transport: Transport
    port: int
    request: bytes | None
    answers: tuple[bytes, ...] = ()


class Handler:
    """What answers.  A plugin is its own handler unless its `prepare` returns another object with these methods."""

    __slots__ = ()

    def respond(self, request: Datagram) -> Answer:
        """Answer a datagram; see `Answer`.  Called from trio's thread (or another, where the service is `blocking`)."""
        return PASS

    def respond_last(self, request: Datagram) -> Answer:
        """The same where no other instance is asked after this one: what to say to a question that is nobody's.

        By default what `respond` says.
        """
        return self.respond(request)

    def over_rate(self, request: Datagram) -> bytes | None:
        """What to send instead where `rate` refuses an answer, such as NTP's kiss of death (RFC 5905 section 7.4).

        It goes where the answer would have gone.  A source prefix gets at most one a second, within `amplification` and
        `max_answer`.  None: silence.
        """
        return None

    async def converse(self, connection: Connection) -> Pass | None:
        """Serve a TCP connection until it ends.  To PASS, do so before the first byte is written.

        What was read before goes to the next instance by `connection.put_back`.
        """
        return PASS

    async def run(self, network: Network) -> None:
        """Background work for the handler's life: timers, announcements, sending unasked.

        It is started once the ports are open.  Returning means that the work is done; raising means a crash, after
        which it is started again with exponential backoff.
        """

    def succeed(self, predecessor: Handler) -> None:
        """Take over what is to go on from the handler that this one replaces at a reload.

        Called before this one is asked anything, while the other's `run` still goes on; the two need not be of the same
        plugin.  By default nothing is taken over.
        """

    def counts(self) -> Mapping[str, int]:
        """Totals by kind since the handler began, of what it alone can tell apart; shown by `status` and to Prometheus.

        A kind is 1 to 64 of a-z, 0-9 and "-"; up to 64 kinds, so peers can't choose them; a total is 0 to 2**64-1 and
        never falls.  Called from trio's thread when somebody looks, so that counting costs a plugin an integer.  Where
        it raises, or returns something else, none of it is shown, and the log says why.
        """
        return {}

    def notes(self) -> Iterable[str]:
        """What is so now and people should know: `status` and `/ready` show up to 64 lines.  Called like `counts`."""
        return ()

    def describe(self, exchange: Exchange) -> Mapping[str, str | int]:
        """What was said, in the protocol's own words: `{"name": "www.example.", "type": "A", "rcode": "NOERROR"}`.

        For people who watch, in the query log and `trace`; called only where somebody does, from trio's thread, and of
        what was refused too.  A word's name is 1 to 32 of a-z and "_"; up to 8 words.  What is not printable is
        escaped, what is long is cut.  PeerError: there is nothing to say of such bytes.  Where it raises anything else,
        or returns something else, nothing is shown, and the log says why.
        """
        return {}


class Plugin(Handler):
    """The base of plugins: decorate with `attrs.frozen`; every field is an option that the config may set.

    Options are typed strictly: bool, int, float, str, `Path` (relative to the config), `ipaddress` types, enums,
    Literal, tuple, list, frozenset, dict, unions with None, and attrs classes of those.  An attrs validator or
    converter that raises ValueError makes a config error with the option's path.  A field `if_` is the option `if`.
    None can have the name of an instance key (`InstanceKeys`), since the config could not tell the two apart.

    The docstring's first line says what the plugin does; a table in it, "name  what it is" a line, describes the
    options (`responder.config.reference` has the form).  `responderd plugins NAME` shows both.
    """

    __slots__ = ()

    api: ClassVar[int] = API_VERSION
    services: ClassVar[tuple[Service, ...]] = ()

    in_each_worker: ClassVar[bool] = False
    """`run` may run in each of several processes that serve the same ports (`daemon.workers`) at once: it looks after
    its own process, and neither announces anything nor keeps state.  A plugin without `run` need not say so."""

    def chosen_services(self) -> tuple[Service, ...]:
        """Those of `services` that an instance with these options has: by default all."""
        return self.services

    def prepare(self, context: Context) -> Handler:
        """Check what options alone can't say, read files, and return the handler.

        Runs in a thread, at `check` too: it must open no socket and change nothing.  Raises ConfigError for what the
        operator can mend in the config or a file: then nothing is started, or reloaded.  Anything else that it raises
        is this plugin's own failure: at the start the others serve without it, a reload is refused, so that a handler
        that works is not lost.
        """
        return self

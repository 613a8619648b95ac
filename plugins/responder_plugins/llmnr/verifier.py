"""Verifies on each link that nobody else answers for this host's names (RFC 4795 section 4).

A name is asked for three times over IPv4 and IPv6: at start, where a link comes or gets another address, and where a
query says that several hosts answered.  Until then responses for it are tentative; a name that another host has is
given up on that link, logged, and tried again later.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from secrets import randbits
from typing import Final, TypeAlias

import attrs
import trio

from responder import Interface, IPAddress, Network, Repeated, get_logger

from ..shared import dns_message as dns
from ..shared.delays import Uniform
from ..shared.dns_message import Question
from ..shared.links import Links, Place, group_places
from .message import GROUPS, PORT, TTL, Response, write_query

JITTER: Final = 0.1
"""JITTER_INTERVAL, seconds (section 7)."""

TRANSMISSIONS: Final = 3
"""Of a query (section 2.7)."""

TIMEOUT: Final = 1.0
TIMEOUT_ON_IEEE_802: Final = 0.1
"""LLMNR_TIMEOUT, seconds (section 7)."""

EUI_48: Final = 6
"""Bytes of the hardware addresses of IEEE 802 links."""

MAX_RETRY: Final = 3600.0
"""Seconds after which a name that was lost is tried again at most; section 4.2 has the TTL of the other's record."""

DEFENCE: Final = 30.0
"""Seconds from one look into a claimed conflict to the next: any peer can claim one."""

MAX_LOGGED: Final = 1024

Key: TypeAlias = tuple[int, bytes]
"""An interface's index, and a name in lower case."""

_log = get_logger(__name__)


class State(enum.Enum):
    """What is known of a name on a link."""

    TENTATIVE = "tentative"
    UNIQUE = "unique"
    LOST = "lost"


@attrs.define(eq=False)
class _Check:
    """A verification under way.  `defends`: it was unique before, so that the lower address keeps it (section 4.2)."""

    key: Key
    question: Question
    defends: bool
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    lost_to: IPAddress | None = None
    retry: float = TTL
    over: trio.Event = attrs.field(factory=trio.Event, init=False)


def places_of(interface: Interface) -> dict[Place, IPAddress]:
    """Where LLMNR is spoken on an interface."""
    return group_places(interface, GROUPS)


class Verifier:
    """Knows the state of each name on each link; `counted` has conflicts."""

    def __init__(self, names: Sequence[bytes], uniform: Uniform) -> None:
        self._names = names
        self._uniform = uniform
        self._states: dict[Key, State] = {}
        self._checks: dict[Key, _Check] = {}
        self._by_ident: dict[int, _Check] = {}
        self._looked_into: dict[Key, float] = {}
        self._links: Links | None = None
        self._nursery: trio.Nursery | None = None
        self._warnings = Repeated(limit=MAX_LOGGED, clock=trio.current_time)
        self.counted: Counter[str] = Counter()

    def state(self, interface: int, name: bytes) -> State:
        """What is known of a name (in lower case) on the interface of that index."""
        return self._states.get((interface, name), State.TENTATIVE)

    def inherit(self, other: Verifier) -> None:
        """Take over which names were verified: those that stay need not be asked for again at a reload."""
        for (index, name), state in other._states.items():
            if state is State.UNIQUE and name in self._names:
                self._states[index, name] = state

    async def run(self, network: Network) -> None:
        """Verify until the network's `stopping` fires."""
        links = self._links = Links(network, places_of, "verification")
        async with trio.open_nursery() as nursery:
            await nursery.start(links.watch)
            self._nursery = nursery
            nursery.start_soon(self._follow, links)
            await network.stopping.wait()
            self._nursery = None
            nursery.cancel_scope.cancel()

    async def _follow(self, links: Links) -> None:
        there = {index for index, _ in links.begin()}
        self._states = {key: state for key, state in self._states.items() if key[0] in there}
        for index in there:
            self._verify_names(index, [name for name in self._names if (index, name) not in self._states])
        while True:
            change = await links.change()
            for index, _ in change.gone:
                self._forget(index)
            there = {index for index, _ in links.places}
            for index, _ in change.left:
                if index not in there:
                    self._forget(index)
            for index in {index for index, _ in change.new}:
                self._verify_names(index, self._names)

    def _forget(self, interface: int) -> None:
        for name in self._names:
            key = interface, name
            self._states.pop(key, None)
            self._looked_into.pop(key, None)
            if key in self._checks:
                self._checks[key].scope.cancel()

    def _verify_names(self, interface: int, names: Iterable[bytes]) -> None:
        for name in names:
            self._start((interface, name), Question(name, dns.ANY, dns.IN), defends=False)

    def suspect(self, question: Question, interface: int) -> None:
        """A query claims that several hosts have a name of ours: look into it, at most every `DEFENCE` seconds."""
        if self._nursery is None:
            return
        key = interface, question.name.lower()
        now = trio.current_time()
        if self.state(*key) is State.UNIQUE and now - self._looked_into.get(key, -DEFENCE) >= DEFENCE:
            self._looked_into[key] = now
            self._start(key, question, defends=True)

    def _start(self, key: Key, question: Question, *, defends: bool) -> None:
        if self._nursery is None:
            return
        if key in self._checks:
            self._checks[key].scope.cancel()
        check = self._checks[key] = _Check(key, question, defends)
        self._nursery.start_soon(self._verify, check)

    async def _verify(self, check: _Check) -> None:
        ident = randbits(16)
        while ident in self._by_ident:
            ident = randbits(16)
        self._by_ident[ident] = check
        try:
            with check.scope:
                await self._ask(check, ident)
                if check.lost_to is not None:
                    await self._give_up(check)
                    return
                if self._states.get(check.key) is State.LOST:
                    _log.info("the name is free again", **self._fields(check))
                self._states[check.key] = State.UNIQUE
        finally:
            self._by_ident.pop(ident, None)
            if self._checks.get(check.key) is check:
                del self._checks[check.key]

    async def _ask(self, check: _Check, ident: int) -> None:
        """Ask three times, or until somebody answers."""
        links = self._links
        assert links is not None  # noqa: S101 - set before anything is started
        index = check.key[0]
        query = write_query(ident, *check.question)
        interface = links.network.interface(index)
        on_ieee_802 = interface is not None and len(interface.link_address) == EUI_48
        timeout = (TIMEOUT_ON_IEEE_802 if on_ieee_802 else TIMEOUT) + JITTER  # who answers may wait that long
        for _ in range(TRANSMISSIONS):
            await trio.sleep(self._uniform(0.0, JITTER))
            for place in [place for place in links.places if place[0] == index]:
                await links.send(place, query, port=PORT)
            with trio.move_on_after(timeout):
                await check.over.wait()
                return

    async def _give_up(self, check: _Check) -> None:
        self.counted["conflict"] += 1
        is_news = self._states.get(check.key) is not State.LOST
        self._states[check.key] = State.LOST
        if is_news and (held_back := self._warnings.due(check.key)) is not None:
            _log.warning(
                "the name is another host's too: not answered for on that link",
                other=check.lost_to,
                held_back=held_back,
                **self._fields(check),
            )
        await trio.sleep(check.retry)
        self._start(check.key, Question(check.key[1], dns.ANY, dns.IN), defends=False)

    def _fields(self, check: _Check) -> dict[str, object]:
        index, name = check.key
        assert self._links is not None  # noqa: S101 - set before anything is started
        network = self._links.network
        interface = network.interface(index)
        text = ".".join(label.decode(errors="replace") for label in dns.labels(name))
        return {
            "plugin": network.instance,
            "name": text,
            "interface": index if interface is None else interface.name,
        }

    def hear(self, response: Response, peer: IPAddress, interface: int) -> None:
        """Judge a response to one of our queries."""
        check = self._by_ident.get(response.ident)
        links = self._links
        if check is None or links is None or check.over.is_set() or interface != check.key[0]:
            return
        if response.question.name.lower() != check.key[1] or response.conflict:
            return  # C: the other shares its name on purpose, or is ourselves on another interface of the link
        if any(each.has(peer) for each in links.network.interfaces):
            return
        own = [address for place, address in links.places.items() if place[0] == interface]
        lower = any(int(peer) < int(address) for address in own if peer.version == address.version)
        if lower or not (check.defends or response.tentative):
            check.lost_to = peer
            check.retry = min(max([TTL, *(record.ttl for record in response.answers)]), MAX_RETRY)
            check.over.set()
        elif check.defends and (held_back := self._warnings.due((check.key, "kept"))) is not None:
            _log.warning(
                "the name is another host's too: this host has the lower address, and keeps it on that link",
                other=peer,
                held_back=held_back,
                **self._fields(check),
            )

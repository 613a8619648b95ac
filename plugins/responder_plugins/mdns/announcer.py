"""The background work: links that come, change and go, what is due on each, the folder of service files, goodbyes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

import attrs
import trio

from responder import (
    ChangeKind,
    Interface,
    InterfaceChange,
    IPAddress,
    Network,
    Peer,
    Repeated,
    SendError,
    SourceUnavailable,
    get_logger,
)

from .answering import Send
from .link import GROUPS, Link, versions_of
from .message import PORT
from .numbers import Numbers
from .options import Offer
from .records import Claim
from .service_files import merge

if TYPE_CHECKING:
    from .handler import MdnsHandler

LOOK: Final = 2.0
"""Seconds between two looks at the folder of service files."""

_log = get_logger(__name__)


@attrs.define(eq=False)
class Announcer:
    """Keeps every link informed, from start to goodbye."""

    handler: MdnsHandler
    network: Network
    offer: Offer = attrs.field(init=False)
    _numbers: Numbers = attrs.field(init=False)
    _own: set[IPAddress] = attrs.field(factory=set, init=False)
    """This host's addresses, on whatever link."""
    _is_shared: bool = attrs.field(default=False, init=False)
    """Was another program on this host heard?"""
    _asleep_until: float = attrs.field(default=inf, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    _failures: Repeated = attrs.field(factory=lambda: Repeated(clock=trio.current_time), init=False)

    def __attrs_post_init__(self) -> None:
        self._numbers = Numbers(lambda: self.network.state_dir, self.network.instance)
        self.offer, _ = merge(self.handler.host, self.handler.options.offered, self.handler.found.services)

    async def run(self) -> None:
        """Announce until the network's `stopping` fires, then say goodbye."""
        changes = self.network.changes()
        self._learn_own()
        for link in self.handler.links.values():
            self._adopt(link)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._speak)
            nursery.start_soon(self._follow, changes)
            if self.handler.folder is not None:
                nursery.start_soon(self._look)
            await self.network.stopping.wait()
            nursery.cancel_scope.cancel()
        # Where a successor has taken over, there are no links any more.
        links, self.handler.links = self.handler.links, {}
        for link in links.values():
            await self._send(link, link.goodbye())

    def look_at(self, link: Link) -> None:
        """Something of the link may be due earlier than was known."""
        if link.due() < self._asleep_until:
            self._wake.set()

    async def _speak(self) -> None:
        for interface in self.network.interfaces:
            await self._meet(interface)
        for index in self.handler.links.keys() - {interface.index for interface in self.network.interfaces}:
            del self.handler.links[index]
        while True:
            now = trio.current_time()
            for link in list(self.handler.links.values()):
                if link.due() <= now:
                    await self._send(link, list(link.advance(now)))
            self._asleep_until = min((link.due() for link in self.handler.links.values()), default=inf)
            with trio.move_on_at(self._asleep_until):
                await self._wake.wait()
            self._asleep_until = inf
            self._wake = trio.Event()

    # Links

    async def _follow(self, changes: AsyncIterator[InterfaceChange]) -> None:
        async for change in changes:
            index = change.interface.index
            self._learn_own()
            if change.kind in {ChangeKind.DISAPPEARED, ChangeKind.DOWN}:
                # Whoever is there when it comes back may be another: its names are probed for again.
                self.handler.links.pop(index, None)
            if self.network.interface(index) is not None:
                await self._meet(change.interface)

    async def _meet(self, interface: Interface) -> None:
        """Speak on an interface as it is now, if it can be spoken on."""
        links = self.handler.links
        if not versions_of(interface):
            links.pop(interface.index, None)
            return
        link = links.get(interface.index)
        if link is None:
            link = links[interface.index] = Link(interface, self.handler.uniform, self.handler.counted)
            self._adopt(link)
        await self._offer(link, interface)

    def _adopt(self, link: Link) -> None:
        """Be the one that the link asks and tells."""
        link.number_of = partial(self._number_of, link)
        link.is_own = self._is_own
        link.renamed = self._renamed
        link.noticed = self._noticed
        link.uniform = self.handler.uniform
        link.use_counts(self.handler.counted)

    async def _offer(self, link: Link, interface: Interface) -> None:
        sends = link.offer(self.offer, interface, trio.current_time())
        self.look_at(link)
        await self._send(link, sends)

    def _is_own(self, address: IPAddress) -> bool:
        return address in self._own

    def _learn_own(self) -> None:
        self._own = {own.address for interface in self.network.interfaces for own in interface.addresses}

    def _number_of(self, link: Link, claim: str) -> int:
        return self._numbers.of(link.interface.name, claim)

    def _renamed(self, link: Link, claim: Claim) -> None:
        self._numbers.keep(link.interface.name, claim.key, claim.number)
        _log.warning(
            f"the name {claim.label!r} is taken: it is {claim.text!r} here",
            plugin=self.network.instance,
            interface=link.interface.name,
        )

    def _noticed(self, link: Link) -> None:
        if not self._is_shared:
            self._is_shared = True
            _log.warning(
                "another program on this host speaks mDNS too: unicast datagrams to port 5353 reach only one of them",
                plugin=self.network.instance,
                interface=link.interface.name,
            )

    # The folder

    async def _look(self) -> None:
        folder = self.handler.folder
        assert folder is not None  # noqa: S101 - that is why this runs
        while True:
            await trio.sleep(LOOK)
            # In this task and not in a thread: the files are small and few, and seldom change.
            if folder.changed():
                found = folder.read(self.handler.host)
                for error in found.errors:
                    _log.warning("a service file is left out", plugin=self.network.instance, error=str(error))
                self.offer, left_out = merge(self.handler.host, self.handler.options.offered, found.services)
                for reason in left_out:
                    _log.warning("a service is left out", plugin=self.network.instance, error=reason)
                for link in list(self.handler.links.values()):
                    await self._offer(link, link.interface)

    # Sending

    async def _send(self, link: Link, sends: Iterable[Send]) -> None:
        """One link that refuses (a VPN's may) costs the others nothing."""
        for send in sends:
            to = Peer(GROUPS[send.version], PORT) if send.to is None else send.to
            try:
                await self.network.send(send.payload, to=to, interface=link.interface.index)
            except SourceUnavailable:
                pass  # the interface went, or its address, a moment ago: the change that says so is on its way
            except SendError as error:
                held_back = self._failures.due((link.interface.index, send.version))
                if held_back is not None:
                    _log.warning(
                        "can't send",
                        plugin=self.network.instance,
                        to=str(to),
                        interface=link.interface.name,
                        error=str(error),
                        held_back=held_back,
                    )

"""One instance's life: its handler, its background task, and what that task sees of the network.

`run` is started once the ports are open.  A `run` that raises is started again after a delay that doubles with each
crash in a row, with jitter, so that plugins that fail together don't come back together; a `run` that returns has done
its work.  At the end `Network.stopping` fires, and `run` has the grace period for its goodbyes before it is cancelled.

A crash of one instance stays with it: this file knows no other instance, and opens no sockets.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias
from weakref import WeakSet

import attrs
import trio

from ..config.instance import Instance, Prepared
from ..datagram import Datagram, Interface, IPAddress, Peer, Via, to_endpoint
from ..dispatch import outcomes
from ..dispatch.access import find_usable, interface_matches
from ..dispatch.addressing import later_route, needs_interface, route_to
from ..dispatch.failures import described, plugin_failure
from ..dispatch.observers import Observation, Observers
from ..dispatch.outcomes import Counters
from ..dispatch.port import Port
from ..dispatch.sender import Outgoing, Sender
from ..errors import SourceUnavailable
from ..log import get_logger
from ..net.interface_table import InterfaceTable
from ..plugin import Handler, Service, StopReason
from .interfaces import Following, Subscription

FIRST_DELAY = 1.0
"""Seconds before a crashed `run` is started again; doubled with each crash in a row."""

LAST_DELAY = 60.0
"""Seconds: no delay is longer.  A `run` that lived as long starts from `FIRST_DELAY` again."""

State: TypeAlias = Literal["ready", "restarting", "failed", "stopped"]
"""`failed`: the plugin could not prepare, and answers nothing."""

_log = get_logger(__name__)


@attrs.define(eq=False)
class StopSignal:
    """Implements `responder.plugin.Stopping`."""

    reason: StopReason | None = None
    _event: trio.Event = attrs.field(factory=trio.Event, init=False)

    def fire(self, reason: StopReason) -> None:
        if self.reason is None:
            self.reason = reason
            self._event.set()

    async def wait(self) -> StopReason:
        await self._event.wait()
        assert self.reason is not None  # noqa: S101 - set before the event
        return self.reason


@attrs.define(eq=False)
class Supervised:
    """An instance that runs."""

    prepared: Prepared
    ports: dict[str, list[Port]] = attrs.field(factory=dict, init=False)
    """By service name; one for each address of `listen`, or one."""
    stopping: StopSignal = attrs.field(factory=StopSignal, init=False)
    state: State = attrs.field(init=False)
    restarts: int = attrs.field(default=0, init=False)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    """Ends `live` without a goodbye."""
    subscriptions: WeakSet[Subscription] = attrs.field(factory=WeakSet, init=False)
    finished: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set once `live` has ended, or will never begin."""

    def __attrs_post_init__(self) -> None:
        self.state = "ready" if self.prepared.failure is None else "failed"

    @property
    def instance(self) -> Instance:
        return self.prepared.instance

    @property
    def handler(self) -> Handler:
        return self.prepared.handler

    @property
    def name(self) -> str:
        return self.instance.name

    def has(self, service: str) -> bool:
        return any(each.name == service for each in self.instance.services)

    def service(self, name: str) -> Service:
        """Raises ValueError, naming those that there are."""
        for service in self.instance.services:
            if service.name == name:
                return service
        names = ", ".join(service.name for service in self.instance.services)
        raise ValueError(f"{self.name} has no service {name!r} (it has: {names})")

    def sender_of(self, service: str, to: IPAddress, source: IPAddress | None = None) -> Sender | None:
        """What sends from that service to that address; None where the service has no port for it.

        `source` is the address to send from, such as the one that a peer had asked: where `listen` names it, it has a
        socket of its own.
        """
        fitting = [
            port.sender
            for port in self.ports.get(service, ())
            if port.socket.address is None or port.socket.address.version == to.version
        ]
        return next((each for each in fitting if each.socket.address == source), fitting[0] if fitting else None)

    def succeed(self, predecessor: Supervised) -> None:
        """Let the handler take over from the one that it replaces; where that fails, it begins anew."""
        # Not every handler is a `Handler`, and a plugin may have an option of that name.
        succeed = getattr(self.handler, "succeed", None)
        if not callable(succeed):
            return
        try:
            succeed(predecessor.handler)
        except BaseException as error:
            _log.error("succeed failed", exc_info=plugin_failure(error), plugin=self.name)

    def stop(self, reason: StopReason) -> None:
        """Tell `run` that its time ends: `stopping` fires, and iterations over changes end."""
        self.stopping.fire(reason)
        for subscription in self.subscriptions:
            subscription.end()

    async def live(self, network: PluginNetwork) -> None:
        """Supervise until it ends, unless it was told to end before it began."""
        with self.scope:
            if self.stopping.reason is None:
                await self.supervise(network)

    async def supervise(self, network: PluginNetwork, jitter: Callable[[float, float], float] = random.uniform) -> None:
        """Run the handler's `run` until it returns; start it again when it crashes."""
        delay = FIRST_DELAY
        while True:
            started = trio.current_time()
            try:
                await self.handler.run(network)
            except BaseException as error:
                failure = plugin_failure(error)
                if self.stopping.reason is not None:
                    _log.warning("run failed while stopping", plugin=self.name, error=described(failure))
                    break
                if trio.current_time() - started >= LAST_DELAY:
                    delay = FIRST_DELAY
                pause = delay * jitter(0.5, 1.0)
                _log.error("run crashed", exc_info=failure, plugin=self.name, again_in=round(pause, 2))
                self.state = "restarting"
                self.restarts += 1
                delay = min(LAST_DELAY, delay * 2)
                with trio.move_on_after(pause):
                    await self.stopping.wait()
                    break
                self.state = "ready"
            else:
                break
        # An instance that waits for its restart keeps that state, so that the exit status shows the failure.
        if self.stopping.reason is not None and self.state == "ready":
            self.state = "stopped"


@attrs.define(eq=False)
class PluginNetwork:
    """Implements `responder.plugin.Network` for one instance."""

    _runtime: Supervised
    _following: Following
    _counters: Counters
    _observers: Observers
    _state_folder: Callable[[str], Path]

    @property
    def instance(self) -> str:
        return self._runtime.name

    @property
    def stopping(self) -> StopSignal:
        return self._runtime.stopping

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        return tuple(interface for interface in self._table if self._may_use(interface))

    def interface(self, index: int) -> Interface | None:
        interface = self._table.get(index)
        return interface if interface is not None and self._may_use(interface) else None

    def changes(self) -> Subscription:
        subscription = self._following.subscribe(self._may_use)
        self._runtime.subscriptions.add(subscription)
        return subscription

    @property
    def _table(self) -> InterfaceTable:
        return self._following.table

    def _may_use(self, interface: Interface) -> bool:
        return interface_matches(interface.name, self._runtime.instance.interfaces)

    def port(self, service: str = "default") -> int:
        return self._ports(service)[0].number

    def _ports(self, service: str) -> Sequence[Port]:
        return self._runtime.ports[self._runtime.service(service).name]

    @property
    def state_dir(self) -> Path:
        return self._state_folder(self.instance)

    def _sender(self, service: str, to: IPAddress, asked: IPAddress | None = None) -> Sender:
        """Raises SourceUnavailable where nothing of that service can send there."""
        sender = self._runtime.sender_of(service, to, asked)
        if sender is None:
            message = f"{self.instance}: no address of `listen` is an IPv{to.version} one"
            raise SourceUnavailable(errno.EAFNOSUPPORT, message)
        return sender

    async def send(
        self,
        payload: bytes,
        *,
        to: Peer | IPAddress | str | Datagram,
        interface: Interface | int | str | None = None,
        service: str = "default",
        hop_limit: int | None = None,
    ) -> None:
        if hop_limit is not None and not 1 <= hop_limit <= 0xFF:
            raise ValueError(f"hop_limit: expected 1..255, got {hop_limit}")
        found = None if interface is None else find_usable(self._table, interface, self._may_use)
        if isinstance(to, Datagram):
            found = find_usable(self._table, to.interface.index, self._may_use)
            sender = self._sender(to.service, to.peer.address, asked=to.destination)
            route = later_route(to, found, hop_limit or self._runtime.service(to.service).hop_limit)
            number = to.peer.port
        else:
            where = to_endpoint(to)
            address, number = (where.address, where.port) if isinstance(where, Peer) else (where, self.port(service))
            if not 0 < number <= 0xFFFF:
                raise ValueError(f"port {number} can't be sent to")
            if (
                found is None
                and (needs_interface(address) or self._table.is_broadcast(address))
                and not (isinstance(where, Peer) and where.scope_id)
            ):
                raise ValueError(f"{address} needs the interface to send out of: interface=")
            sender = self._sender(service, address)
            hop_limit = hop_limit or self._runtime.service(service).hop_limit
            route = route_to(where, found, source=sender.socket.address, hop_limit=hop_limit)
        name = found.name if found is not None else outcomes.NO_INTERFACE
        counts = self._counters.counts(self.instance, name)
        sent = (payload, route, number)
        await sender.send(Outgoing(sent, counts, outcomes.SENT))
        counts[outcomes.SENT] += 1
        if self._observers:
            now = time.time()
            seen = Observation(
                time=now,
                transport="udp",
                port=sender.socket.port,
                peer=Peer(route.to, number, route.scope_id),
                destination=route.source,
                interface=name,
                via=Via.MULTICAST if route.to.is_multicast else Via.UNICAST,
                instance=self.instance,
                outcome=outcomes.SENT,
                answers=((now, sent),),
            )
            self._observers.tell(seen)

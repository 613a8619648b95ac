"""TCP connections to services with `tcp=True`: accepted, checked as datagrams are, and handed out in config order.

This file refuses to read or write: what is spoken is the plugin's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs
import trio

from ..datagram import Peer
from ..log import Repeated, get_logger
from ..net.interface_table import InterfaceTable
from ..net.types import Accepted, StreamListener
from ..plugin import PASS, Connection
from . import outcomes
from .failures import plugin_failure
from .flow import Binding, Flow, flow_of
from .observers import Observation, Observers
from .outcomes import Counters

_log = get_logger(__name__)


@attrs.define(eq=False)
class StreamPort:
    """One bound TCP port and the bindings that serve on it, in config order."""

    listener: StreamListener
    bindings: tuple[Binding, ...]
    table: InterfaceTable
    counters: Counters
    on_stale: Callable[[], None]
    observers: Observers
    repeated: Repeated = attrs.field(factory=Repeated)

    async def serve(self, nursery: trio.Nursery) -> None:
        """Accept until cancelled; each connection is a task in `nursery`."""
        while True:
            accepted = await self.listener.accept()
            nursery.start_soon(self._converse, accepted)

    async def _converse(self, accepted: Accepted) -> None:
        flow = flow_of(accepted.path, self.table, self.bindings, self.counters, self.on_stale)
        try:
            if flow.refusal:
                flow.tally[flow.refusal] += 1
                self._tell(accepted, flow, flow.owner, flow.refusal)
            else:
                await self._offer(accepted, flow)
        finally:
            await trio.aclose_forcefully(accepted.stream)

    async def _offer(self, accepted: Accepted, flow: Flow) -> None:
        """To one taker after the other, until one does not PASS."""
        for taker in flow.takers:
            binding = taker.binding
            if binding.connections >= binding.runtime.max_connections:
                taker.tally[outcomes.BUSY] += 1
                self._tell(accepted, flow, str(binding), outcomes.BUSY)
                return
            binding.connections += 1
            try:
                outcome = await self._serve_one(binding, accepted, flow)
            finally:
                binding.connections -= 1
            if outcome != outcomes.PASSED:
                taker.tally[outcome] += 1
                self._tell(accepted, flow, str(binding), outcome)
                return
        flow.tally[outcomes.PASSED] += 1
        self._tell(accepted, flow, flow.owner, outcomes.PASSED)

    def _tell(self, accepted: Accepted, flow: Flow, instance: str, outcome: str) -> None:
        if not self.observers:
            return
        path = accepted.path
        self.observers.tell(
            Observation(
                time=time.time(),
                transport="tcp",
                port=self.listener.port,
                peer=Peer(path.peer, accepted.port, path.scope_id),
                destination=path.destination,
                interface=flow.interface.name,
                via=flow.via,
                instance=instance,
                outcome=outcome,
                reason=outcomes.REASONS.get(outcome, ""),
                request=b"",
            )
        )

    async def _serve_one(self, binding: Binding, accepted: Accepted, flow: Flow) -> str:
        path = accepted.path
        destination = type(path.peer)(0) if path.destination is None else path.destination
        connection = Connection(
            stream=accepted.stream,
            peer=Peer(path.peer, accepted.port, path.scope_id),
            destination=destination,
            interface=flow.interface,
            service=binding.service.name,
            port=self.listener.port,
            arrival=trio.current_time(),
        )
        try:
            answer = await binding.runtime.handler.converse(connection)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # The peer is gone in the middle: its right.
            return outcomes.CONNECTED
        except BaseException as error:
            failure = plugin_failure(error)
            held_back = self.repeated.due((str(binding), type(failure)))
            if held_back is not None:
                _log.error("converse failed", exc_info=failure, plugin=str(binding), held_back=held_back)
            return outcomes.CRASHED
        if answer is PASS:
            return outcomes.PASSED
        return outcomes.CONNECTED

"""TCP connections to services with `tcp=True`: accepted, checked as datagrams are, and handed out in config order.

This file refuses to read or write: what is spoken is the plugin's.
"""

from __future__ import annotations

import attrs
import trio

from ..datagram import Peer
from ..log import Repeated, get_logger
from ..net.types import Accepted, StreamListener
from ..plugin import PASS, Connection
from . import outcomes
from .answers import observation
from .binding import Binding
from .connections import Active
from .failures import only_the_peer, plugin_failure
from .flow import Decision, Environment, arrive, decide

_log = get_logger(__name__)


@attrs.define(eq=False)
class StreamPort:
    """One bound TCP port and the bindings that serve on it, in config order."""

    listener: StreamListener
    bindings: tuple[Binding, ...]
    environment: Environment
    repeated: Repeated = attrs.field(factory=Repeated)

    async def serve(self, nursery: trio.Nursery) -> None:
        """Accept until cancelled; each connection is a task in `nursery`."""
        while True:
            accepted = await self.listener.accept()
            nursery.start_soon(self._converse, accepted)

    async def _converse(self, accepted: Accepted) -> None:
        flow, environment = accepted.flow, self.environment
        decision = decide(flow, arrive(flow, self.listener.port, self.bindings, environment), environment)
        try:
            if decision.refusal:
                decision.counts[decision.refusal] += 1
                self._tell(accepted, decision, decision.owner, decision.refusal)
            else:
                await self._offer(accepted, decision)
        finally:
            await trio.aclose_forcefully(accepted.stream)

    async def _offer(self, accepted: Accepted, decision: Decision) -> None:
        """Offer the connection to one candidate after the other, until one does not PASS."""
        unread = b""
        for candidate in decision.candidates:
            binding = candidate.binding
            limit = binding.service.max_connections
            outcome = outcomes.BUSY
            with binding.connections.place(accepted.stream, accepted.flow.peer, limit) as place:
                place.stream.put_back(unread)
                outcome = await self._serve_one(binding, accepted, decision, place.stream)
                unread = place.stream.unread
            if outcome != outcomes.PASSED:
                candidate.counts[outcome] += 1
                self._tell(accepted, decision, str(binding), outcome)
                return
        decision.counts[outcomes.PASSED] += 1
        self._tell(accepted, decision, decision.owner, outcomes.PASSED)

    def _tell(self, accepted: Accepted, decision: Decision, instance: str, outcome: str) -> None:
        if self.environment.observers:
            told = observation(
                decision,
                accepted.port,
                transport="tcp",
                port=self.listener.port,
                instance=instance,
                outcome=outcome,
            )
            self.environment.observers.tell(told)

    async def _serve_one(self, binding: Binding, accepted: Accepted, decision: Decision, stream: Active) -> str:
        flow = accepted.flow
        destination = type(flow.peer)(0) if flow.destination is None else flow.destination
        connection = Connection(
            stream=stream,
            peer=Peer(flow.peer, accepted.port, flow.scope_id),
            destination=destination,
            interface=decision.interface,
            service=binding.service.name,
            port=self.listener.port,
            arrival=trio.current_time(),
            last=binding is decision.candidates[-1].binding,
            put_back=stream.put_back,
        )
        try:
            answer = await binding.runtime.handler.converse(connection)
        except BaseException as error:
            if only_the_peer(error):
                return outcomes.CONNECTED
            failure = plugin_failure(error)
            held_back = self.repeated.due((str(binding), type(failure)))
            if held_back is not None:
                _log.error("converse failed", exc_info=failure, plugin=str(binding), held_back=held_back)
            return outcomes.CRASHED
        if answer is PASS:
            return outcomes.PASSED
        return outcomes.CONNECTED

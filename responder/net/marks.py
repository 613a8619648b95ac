"""Numbers for `responder.bounded.Memory` that tell flows and routes apart by what they hold."""

from __future__ import annotations

from ..datagram import IPAddress
from .types import Flow, Route


def mark_of_flow(flow: Flow) -> int:
    """A flow compares by identity, and another may stand in its place in memory when it is gone."""
    return hash((int(flow.peer), flow.scope_id, flow.interface, _number(flow.destination)))


def mark_of_route(route: Route) -> int:
    """The same for a route, which compares by identity as a flow does."""
    return hash((int(route.to), route.scope_id, route.interface, _number(route.source), route.hop_limit))


def _number(address: IPAddress | None) -> int | None:
    # An address's own hash is slow.
    return None if address is None else int(address)

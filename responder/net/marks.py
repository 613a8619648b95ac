"""Numbers by which `responder.bounded.Memory` knows flows and routes again: the peer's, in which most differ."""

from __future__ import annotations

from .types import Flow, Route


def mark_of_flow(flow: Flow) -> int:
    """A flow compares by identity, and another may stand in its place in memory when it is gone."""
    return hash(int(flow.peer))  # an address's own hash is slow


def mark_of_route(route: Route) -> int:
    """The same for a route, which compares by identity as a flow does."""
    return hash(int(route.to))

"""Tells observers what has changed: looks at what is observed, and sends notifications (RFC 7641 section 4).

One task for each peer that is behind: it gets one Confirmable message at a time (RFC 7252 section 4.7, NSTART).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import attrs
import trio

from .exchanges import Outgoing, Way, way_of
from .message import Type, write_message
from .observing import Observation, Observers, State

WATCH: Final = 2.0
"""Seconds from one look to the next."""

Variant: TypeAlias = tuple[tuple[bytes, ...], tuple[str, ...]]
"""A path and queries."""


@attrs.define(eq=False)
class Notifier:
    """For the life of one `run`.

    look     what a resource gives now
    counted  notifications and observations by what became of them
    """

    observers: Observers
    outgoing: Outgoing
    look: Callable[[tuple[bytes, ...], tuple[str, ...]], Awaitable[State]]
    counted: Counter[str]
    _looking: set[Variant] = attrs.field(factory=set, init=False)
    _busy: set[Way] = attrs.field(factory=set, init=False)

    async def run(self) -> None:
        """Look and tell until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(WATCH)
                variants: dict[Variant, list[Observation]] = {}
                for each in self.observers:
                    variants.setdefault((each.asked.path, each.asked.queries), []).append(each)
                for variant, observations in variants.items():
                    if variant not in self._looking:  # one that takes its time holds no other up
                        self._looking.add(variant)
                        nursery.start_soon(self._look_at, variant, observations, nursery)

    async def _look_at(self, variant: Variant, observations: list[Observation], nursery: trio.Nursery) -> None:
        try:
            state = await self.look(*variant)
        finally:
            self._looking.discard(variant)
        now = trio.current_time()
        for each in observations:
            each.state = state
            way = way_of(each.way)
            if each.is_due(now) and way not in self._busy:
                self._busy.add(way)
                nursery.start_soon(self._catch_up, way)

    async def _catch_up(self, way: Way) -> None:
        """Tell a peer all that is due, one after the other."""
        try:
            while True:
                now = trio.current_time()
                due = next((each for each in self.observers.of(way) if each.is_due(now)), None)
                if due is None:
                    return
                await self._tell(due, now)
        finally:
            self._busy.discard(way)

    async def _tell(self, observation: Observation, now: float) -> None:
        self.counted["notified"] += 1
        if observation.must_be_confirmed(now):
            outcome, response = await self.outgoing.deliver(
                observation.way,
                observation.token,
                lambda: observation.notification() if self.observers.holds(observation) else None,
            )
            if not self.observers.holds(observation):
                return
            if response is None or outcome != "acknowledged":
                self.counted[f"observer-{outcome}"] += 1
                self._end(observation)
                return
            self.observers.hear(observation, trio.current_time())
        else:
            response, message_id = observation.notification(), self.outgoing.next_id(observation.way.peer)
            observation.message_ids.append(message_id)
            observation.unconfirmed += 1
            await self.outgoing.send(
                write_message(Type.NON, response.code, message_id, observation.token, response.rest),
                observation.way,
            )
        if not observation.tell(response, trio.current_time()):
            self._end(observation)

    def _end(self, observation: Observation) -> None:
        if self.observers.holds(observation):
            self.observers.end(way_of(observation.way), observation.token)

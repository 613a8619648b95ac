"""The kit for those who write plugins: a network made of memory, a client, assertions, hostile payloads.

The framework's real server, dispatch, policy and supervisor run on it; only sockets and links are fake.  Time is trio's
clock, so that pytest-trio's `autojump_clock` passes a protocol's minutes at once, and exactly.

    async def test_greets() -> None:
        (heard,) = await exchange(Greeter(), b"hi")
        assert heard.payload == b"hello: 192.0.2.1 on eth0"

`exchange` and `bench` serve one plugin to one client, and raise what it raises; `FakeNetwork` builds anything larger;
`loopback` serves a plugin on real sockets; `never_answers` and its like judge; `options` and `instances` read what an
operator writes; `wall_clock` sets the time of day; `hostile` makes payloads for Hypothesis, which is needed for it
alone.  Installed, it also brings the pytest fixtures `fake_network`, `multihomed_network` and `loopback_address`.

While threads work, a fake clock stands still (`held_clock`).
"""

from __future__ import annotations

from .bench import Bench, bench, exchange, payloads, settled
from .checks import amplifies_at_most, answered_from, answers_within, delays_uniformly, keeps_no_state, never_answers
from .clients import FakeClient, FakeConversation, Heard, NoAnswer
from .hostile import hostile
from .hosts import FakeHost
from .interfaces import FakeInterface
from .loopback import Loopback, LoopbackConversation, loopback
from .multihomed import MultihomedNetwork
from .network import Carried, FakeNetwork, Link
from .options import instances, options
from .sockets import Packet
from .wall_clock import wall_clock

__all__ = [
    "Bench",
    "Carried",
    "FakeClient",
    "FakeConversation",
    "FakeHost",
    "FakeInterface",
    "FakeNetwork",
    "Heard",
    "Link",
    "Loopback",
    "LoopbackConversation",
    "MultihomedNetwork",
    "NoAnswer",
    "Packet",
    "amplifies_at_most",
    "answered_from",
    "answers_within",
    "bench",
    "delays_uniformly",
    "exchange",
    "hostile",
    "instances",
    "keeps_no_state",
    "loopback",
    "never_answers",
    "options",
    "payloads",
    "settled",
    "wall_clock",
]

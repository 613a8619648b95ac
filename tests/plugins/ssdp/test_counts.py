"""Each search is counted once, by what it got."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from responder_plugins.ssdp.handler import SsdpHandler
from trio.testing import MockClock

from responder import PASS, PeerError
from responder.daemon.status import About, take

from .support import BASIC, SINGLE, handler_of, multicast, request_for, search, serving
from .test_message import HOSTILE

CALM = 5.0
"""Seconds after which the first announcements are done."""

BAD_KINDS = {
    "bad-st": ["overlong ST", "no ST", "empty ST", "two STs", "lone quote in ST"],
    "bad-man": ["lone quote in MAN", "only a quote as MAN", "other MAN"],
    "bad-mx": [name for name in HOSTILE if name.endswith("MX") or "MX of" in name],
}
OF_HOSTILE = dict.fromkeys(HOSTILE, "malformed") | {name: kind for kind, names in BAD_KINDS.items() for name in names}
OF_HOSTILE["digits of another script as MX"] = "bad-mx"


def refused(handler: SsdpHandler, payload: bytes) -> None:
    with pytest.raises(PeerError):
        handler.respond(request_for(payload))


@pytest.mark.parametrize("name", HOSTILE)
def test_bad_input(name: str) -> None:
    handler = handler_of(SINGLE)
    for _ in range(2):
        refused(handler, HOSTILE[name])
    assert handler.counts() == {OF_HOSTILE[name]: 2}


def test_a_multicast_search_without_mx() -> None:
    handler = handler_of(SINGLE)
    refused(handler, search(mx=None))
    assert handler.counts() == {"no-mx": 1}


async def test_what_is_no_error() -> None:
    handler = handler_of(SINGLE)
    assert handler.respond(request_for(b"NOTIFY * HTTP/1.1\r\n\r\n")) is PASS
    assert handler.respond(request_for(search("urn:other"))) is PASS
    assert handler.respond(request_for(search())) is None  # not yet announced
    assert handler.counts() == {"not-here": 1, "silent": 1}


async def test_the_daemon_shows_them(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(SINGLE, state=tmp_path) as host:
        await trio.sleep(CALM)
        # One host may have only so many searches waiting.
        host.discovery.deliver(*[multicast(search(f"{BASIC}:1", mx=5)) for _ in range(200)], multicast(b"nonsense"))
        await trio.sleep(CALM)
        (instance,) = take(host.server, About()).instances
        taken = len(host.answers())
    assert 0 < taken < 200
    assert instance.events == {"taken": taken, "no-room": 200 - taken, "malformed": 1}

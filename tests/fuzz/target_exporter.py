"""What comes on a connection to the metrics endpoint: one answer that h11 reads, of a status that it gives, or none."""

from __future__ import annotations

from typing import Any
from unittest import mock

import h11
import trio

from responder.daemon.exporter import _Exporter
from responder.daemon.paced import Paced
from responder.daemon.page import Page
from tests.responder.daemon.support import STATUS

from .streams import answer_to
from .target_http import SEEDS as HTTP
from .target_http import WORDS as HTTP_WORDS
from .target_http import client_of

PATHS = (b"/", b"/?hold", b"/live.json", b"/page.css", b"/metrics", b"/health", b"/ready")
SEEDS = (
    *(b"GET %s HTTP/1.1\r\nHost: [::1]:9153\r\n\r\n" % path for path in PATHS),
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    *HTTP,
)
WORDS = (*PATHS, *b"metrics.example localhost localhost. 127.0.0.1 [::1%eth0] :9153".split(), *HTTP_WORDS)
STATUSES = {200, 400, 404, 405, 414, 421, 431, 501, 503, 505}


async def _at_once(function: Any, *arguments: Any, **_options: Any) -> Any:
    """In place of a thread, for which the clock would not wait."""
    await trio.lowlevel.checkpoint()
    return function(*arguments)


async def _serve(stream: Any) -> None:
    exporter = _Exporter(Paced(lambda: STATUS, 0), frozenset({"metrics.example"}), Page(list))
    with mock.patch.object(trio.to_thread, "run_sync", _at_once):
        await exporter._converse(stream)


def answered(data: bytes) -> bytes | None:
    answer = answer_to(data, _serve)
    if not answer:
        return None
    client = client_of(answer)
    head = client.next_event()
    assert isinstance(head, h11.Response), head
    assert head.status_code in STATUSES, head
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data), event  # h11 raises for less than was promised
    assert not client.trailing_data[0], "one answer alone"
    return answer

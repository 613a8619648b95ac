from __future__ import annotations

import logging
from ipaddress import ip_address

import attrs
import pytest

from responder.daemon.query_log import QueryLog
from responder.datagram import Peer, Via
from responder.dispatch import outcomes
from responder.dispatch.observers import Observation
from responder.net.types import Route

SEEN = Observation(
    time=1.0,
    transport="udp",
    port=53,
    peer=Peer("10.71.0.9", 40000),
    destination=ip_address("10.71.0.2"),
    interface="lan",
    via=Via.UNICAST,
    instance="dns",
    outcome=outcomes.ANSWERED,
    request=b"secret",
    answers=((1.0, (b"four", Route(ip_address("10.71.0.9")), 40000)),),
)


WORDS = {"name": "a.example.", "type": "A"}


def test_an_answer_is_a_line_without_its_payload(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "responder.queries"):
        QueryLog(lambda _: WORDS)(SEEN)
        QueryLog(lambda _: {})(attrs.evolve(SEEN, destination=None))
    assert caplog.messages == [
        "answered peer=10.71.0.9:40000 destination=10.71.0.2 port=53 transport=udp interface=lan plugin=dns"
        f" received=6 sent=4 words={WORDS}",
        "answered peer=10.71.0.9:40000 destination=None port=53 transport=udp interface=lan plugin=dns"
        " received=6 sent=4",
    ]


def never(_seen: Observation) -> dict[str, str]:
    raise AssertionError("nobody is told of it")


def test_what_a_connection_is_answered_is_a_line_too_and_its_end_is_none(caplog: pytest.LogCaptureFixture) -> None:
    by_tcp = attrs.evolve(SEEN, transport="tcp", outcome=outcomes.CONNECTED)
    with caplog.at_level(logging.INFO, "responder.queries"):
        QueryLog(lambda _: {})(by_tcp)
        QueryLog(never)(attrs.evolve(by_tcp, request=b"", answers=()))
    assert caplog.messages == [
        "answered peer=10.71.0.9:40000 destination=10.71.0.2 port=53 transport=tcp interface=lan plugin=dns"
        " received=6 sent=4"
    ]


@pytest.mark.parametrize("outcome", [outcomes.DENIED, outcomes.SILENT, outcomes.CRASHED])
def test_what_is_not_answered_is_none(caplog: pytest.LogCaptureFixture, outcome: str) -> None:
    with caplog.at_level(logging.INFO, "responder.queries"):
        QueryLog(never)(attrs.evolve(SEEN, outcome=outcome))
    assert caplog.messages == []

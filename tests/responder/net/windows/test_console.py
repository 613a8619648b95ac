"""The end of a console or session: which events are ours, and that the handler does not return before the end."""

from __future__ import annotations

import threading

import pytest

from responder.net.windows.console import ENDS, EndHandler, ignore_ends

PATIENCE = 10  # seconds: no test waits for it unless it fails
CTRL_C, CTRL_BREAK, CTRL_CLOSE = 0, 1, 2


@pytest.mark.parametrize("event", [CTRL_C, CTRL_BREAK, 3, 4])
def test_other_events_are_others_matter(event: int) -> None:
    assert EndHandler(pytest.fail)(event) is False
    assert ignore_ends(event) is False


@pytest.mark.parametrize("event", ENDS)
def test_the_handler_does_not_return_before_the_end(event: int) -> None:
    ordered: list[str] = []
    stopped = threading.Event()

    def stop(name: str) -> None:
        ordered.append(name)
        stopped.set()

    handler = EndHandler(stop, limit=10 * PATIENCE)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(handler(event)))
    thread.start()
    assert stopped.wait(PATIENCE)
    assert ordered == [ENDS[event]]
    assert (thread.is_alive(), results) == (True, [])
    handler.ended.set()
    thread.join(PATIENCE)
    assert results == [True]


def test_an_end_that_is_told_twice_is_ordered_once() -> None:
    """A second order to stop would cut the goodbyes short."""
    ordered: list[str] = []
    handler = EndHandler(ordered.append, limit=0)
    assert handler(CTRL_CLOSE)
    handler.end("WM_ENDSESSION")
    assert ordered == ["CTRL_CLOSE_EVENT"]


def test_it_is_taken_back_only_where_no_end_is_handled() -> None:
    """SetConsoleCtrlHandler would wait for the handler, which waits for the end of the process."""
    ordered: list[str] = []
    handler = EndHandler(ordered.append, limit=0)
    assert handler(CTRL_CLOSE)
    assert not handler.no_longer_needed()
    idle = EndHandler(pytest.fail, limit=10 * PATIENCE)
    assert idle.no_longer_needed()
    assert idle(CTRL_CLOSE) is True  # one that is told in between: nothing is ordered, nor waited for


def test_it_does_not_wait_for_ever() -> None:
    assert EndHandler(lambda _name: None, limit=0)(CTRL_CLOSE) is True


@pytest.mark.parametrize("event", ENDS)
def test_a_service_hears_of_the_end_elsewhere(event: int) -> None:
    assert ignore_ends(event) is True

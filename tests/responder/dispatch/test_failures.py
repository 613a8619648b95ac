from __future__ import annotations

import pytest
import trio

from responder import Datagram, PeerError, RateExceeded, Unreachable
from responder.dispatch import outcomes
from responder.dispatch.failures import plugin_failure
from tests.fakes import FakeReceived, flow

from .bench import bench


@pytest.mark.parametrize("error", [ValueError(), SystemExit(3), BaseExceptionGroup("", [SystemExit()])])
def test_a_plugins_failure_is_its_own(error: BaseException) -> None:
    assert plugin_failure(error) is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit()])
def test_an_order_passes(error: BaseException) -> None:
    with pytest.raises(type(error)):
        plugin_failure(error)


def test_an_order_in_a_group_passes_alone() -> None:
    group = BaseExceptionGroup("", [ValueError(), BaseExceptionGroup("", [KeyboardInterrupt(), OSError()])])
    with pytest.RaisesGroup(pytest.RaisesGroup(KeyboardInterrupt)):
        plugin_failure(group)


async def test_a_cancellation_passes() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except BaseException as error:
            plugin_failure(error)
    assert scope.cancelled_caught


@pytest.mark.parametrize("kind", [PeerError, RateExceeded])
def test_what_the_peer_does_is_that_in_a_group_too(kind: type[PeerError]) -> None:
    error = kind("bad")
    assert plugin_failure(ExceptionGroup("", [ExceptionGroup("", [error]), Unreachable(113, "no route")])) is error
    mixed = ExceptionGroup("", [error, ValueError()])
    assert plugin_failure(mixed) is mixed


async def test_a_datagram_whose_handler_has_a_nursery_is_counted_as_what_it_is() -> None:
    async def refuse() -> None:
        raise PeerError("too short")

    async def respond(request: Datagram) -> bytes:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
        return request.payload

    async with bench(respond) as it:
        await it.deliver(FakeReceived(b"x", flow()))
        assert (it.count(outcomes.MALFORMED), it.count(outcomes.CRASHED)) == (1, 0)

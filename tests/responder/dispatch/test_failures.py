from __future__ import annotations

import pytest
import trio

from responder.dispatch.failures import plugin_failure


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

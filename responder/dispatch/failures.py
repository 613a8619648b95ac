"""Tell a plugin's own failure from an order to end that must pass through.

A library that calls `sys.exit`, or a child task that does, must not end a daemon that others' plugins run in.  Those
who meet a failure log and count it; a test kit, which must not let one pass, is told of each by `WATCHER`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

import trio

from ..errors import NetworkError, PeerError, ThreadUnavailable
from ..threads import is_no_thread

WATCHER: ContextVar[Callable[[BaseException], None]] = ContextVar("WATCHER")
"""Called with each failure in the tasks of a server that was started in this context."""

_ORDERS = (trio.Cancelled, KeyboardInterrupt, GeneratorExit)


def _is_others_doing(error: BaseException) -> bool:
    return isinstance(error, PeerError | NetworkError) or is_no_thread(error)


def plugin_failure(error: BaseException) -> BaseException:
    """Return the plugin's failure.  Raises orders to end again, alone or out of a group.

    Of a group that holds nothing but what peers and the network do, it is the first of those: a plugin's nursery makes
    a group of whatever comes out of it.  That no thread can be had is a ThreadUnavailable.
    """
    if isinstance(error, BaseExceptionGroup):
        orders, _ = error.split(_ORDERS)
        if orders is not None:
            raise orders
        if error.split(_is_others_doing)[1] is None:
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
    elif isinstance(error, _ORDERS):
        raise error
    if is_no_thread(error):
        error = ThreadUnavailable()
    watch = WATCHER.get(None)
    if watch is not None and not isinstance(error, PeerError):
        watch(error)
    return error


_PEER_IS_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError)


def only_the_peer(error: BaseException) -> bool:
    """Is it, alone or in a group, that a connection's peer is gone in the middle?  That is its right."""
    if isinstance(error, BaseExceptionGroup):
        _, others = error.split(_PEER_IS_GONE)
        return others is None
    return isinstance(error, _PEER_IS_GONE)


def described(error: BaseException) -> str:
    """The error in words, or its type where its own `__str__` raises."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__

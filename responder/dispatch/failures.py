"""What a plugin's code raised: is it the plugin's own failure, or an order that has to pass?

A library that calls `sys.exit`, or a child task that does, must not end a daemon that others' plugins run in.  This
file refuses to log or count.
"""

from __future__ import annotations

import trio

_ORDERS = (trio.Cancelled, KeyboardInterrupt, GeneratorExit)


def plugin_failure(error: BaseException) -> BaseException:
    """The failure that is the plugin's; raises on what is an order to end, alone or in a group."""
    if isinstance(error, BaseExceptionGroup):
        orders, _ = error.split(_ORDERS)
        if orders is not None:
            raise orders
        return error
    if isinstance(error, _ORDERS):
        raise error
    return error


def described(error: BaseException) -> str:
    """The error in words; its type alone where its author's `__str__` fails too."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__

"""Python's collector of cycles, in a process that answers datagrams.

Almost nothing that a datagram makes is part of a cycle: reference counts free it.  But the collector counts what is
made, and with many answers in flight it looks through all of them every few hundred, for nothing: a tenth of the time
of an answer that waits.  This file turns nothing off: cycles are still found, a little later.
"""

from __future__ import annotations

import gc

YOUNG = 20_000
"""Objects made and not yet freed after which the young are looked through; Python's own number is 700."""


def look_seldom() -> None:
    """For the whole process, so never where the framework is embedded in another's."""
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])

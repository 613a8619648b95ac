"""The collector of cycles looks less often in a daemon's process, and still looks."""

from __future__ import annotations

import gc
import weakref

from responder.daemon.collector import YOUNG, look_seldom


class Ring:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_cycles_are_still_found_once_there_are_many_objects() -> None:
    before = gc.get_threshold()
    try:
        look_seldom()
        assert gc.get_threshold()[0] == YOUNG
        gone = weakref.ref(Ring())
        # Each is a container that stays, so that the young only grow.
        kept = [[number] for number in range(3 * YOUNG)]
        assert gone() is None
        assert len(kept) == 3 * YOUNG
    finally:
        gc.set_threshold(*before)

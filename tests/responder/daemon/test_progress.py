"""What is being read is told to the service manager, once a second at most."""

from __future__ import annotations

import trio

from responder.daemon.progress import Teller, progress_told
from responder.daemon.service_manager import Notifier
from responder.plugin import Context
from responder.progress import progress_watcher


class Manager(Notifier):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def status(self, text: str) -> None:
        self.said.append(text)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_is_told_once_a_second_at_most_and_not_before() -> None:
    manager, clock, heard = Manager(), Clock(), list[tuple[str, float]]()
    teller = Teller(manager, lambda name, share: heard.append((name, share)), clock)
    for clock.now, share in ((0.0, 0.1), (0.5, 0.2), (1.2, 0.4), (1.9, 0.6), (2.3, 0.8), (2.4, 1.0), (3.9, 0.1)):
        teller.watch("office", share)
    assert manager.said == ["reading office: 40%", "reading office: 80%"]
    assert len(heard) == 7


async def test_threads_that_prepare_are_watched() -> None:
    manager = Manager()
    with progress_told(manager):
        watcher = progress_watcher.get()
        assert watcher is not None
        seen = await trio.to_thread.run_sync(lambda: (Context("office").progress(0.5), progress_watcher.get())[1])
        assert seen == watcher
    assert progress_watcher.get() is None

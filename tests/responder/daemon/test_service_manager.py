"""What the service manager hears: a real datagram socket takes its place."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from responder.daemon import service_manager
from responder.daemon.service_manager import Notifier

if sys.platform == "win32":
    pytest.skip("Windows has no notification socket", allow_module_level=True)

PATIENCE = 10
"""Seconds: no test waits for it unless it fails."""


class Manager:
    """A bound notification socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def heard(self) -> str:
        return self.socket.recv(4096).decode()

    def silent(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)
        return False

    def environment(self, **more: str) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.address, "OTHER": "stays", **more}


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract names are Linux's")
    address = f"{tmp_path}/notify" if request.param == "path" else f"@responder-test-{os.getpid()}"
    manager = Manager(address)
    with manager.socket:
        yield manager


def watched(manager: Manager, timeout: str = "4000000", pid: str | None = None) -> dict[str, str]:
    return manager.environment(WATCHDOG_USEC=timeout, WATCHDOG_PID=pid or str(os.getpid()))


def test_changes_of_state(manager: Manager) -> None:
    notifier = Notifier.from_environment(manager.environment())
    notifier.ready()
    assert manager.heard() == "READY=1"
    notifier.stopping(2.0)
    assert manager.heard() == "STOPPING=1"


def test_a_reload_carries_its_time(manager: Manager) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    Notifier.from_environment(manager.environment()).reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    state, when = manager.heard().split("\n")
    name, microseconds = when.split("=")
    assert (state, name) == ("RELOADING=1", "MONOTONIC_USEC")
    assert before // 1000 <= int(microseconds) <= after // 1000


def test_a_status_stays_one_assignment(manager: Manager) -> None:
    Notifier.from_environment(manager.environment()).status("9 ports\nREADY=1 für \x1b[31malle")
    assert manager.heard() == "STATUS=9 ports READY=1 für \\x1b[31malle"


def test_the_variables_are_not_for_children(manager: Manager) -> None:
    environment = watched(manager)
    Notifier.from_environment(environment)
    assert environment == {"OTHER": "stays"}


async def test_the_watchdog_hears_twice_in_each_timeout(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    notifier = Notifier.from_environment(watched(manager))
    with trio.move_on_after(5):
        await notifier.watchdog()
    assert [manager.heard() for _ in range(3)] == ["WATCHDOG=1"] * 3  # at 0, 2 and 4 seconds
    assert manager.silent()


async def test_the_watchdog_hears_nothing_while_all_is_not_well(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    notifier = Notifier.from_environment(watched(manager))
    start = trio.current_time()
    with trio.move_on_after(5):
        await notifier.watchdog(lambda: trio.current_time() - start < 1 or trio.current_time() - start > 3)
    assert [manager.heard() for _ in range(2)] == ["WATCHDOG=1"] * 2  # at 0 and 4 seconds
    assert manager.silent()


@pytest.mark.parametrize(("microseconds", "pid"), [("4000000", "1"), ("0", None), ("often", None), ("", None)])
async def test_no_watchdog(manager: Manager, microseconds: str, pid: str | None) -> None:
    notifier = Notifier.from_environment(watched(manager, microseconds, pid))
    with trio.fail_after(PATIENCE):
        await notifier.watchdog()
    assert manager.silent()
    notifier.ready()
    assert manager.heard() == "READY=1"


async def test_nobody_listens() -> None:
    notifier = Notifier.from_environment({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())})
    notifier.ready()
    notifier.status("unheard")
    with trio.fail_after(PATIENCE):
        await notifier.watchdog()


@pytest.mark.parametrize("address", ["/nowhere/notify", "vsock:2:1234", "notify", "/" + "x" * 200])
def test_a_manager_that_cannot_be_reached_is_logged_once(address: str, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    with caplog.at_level(logging.WARNING):
        notifier.ready()
        notifier.status("still here")
    assert len(caplog.records) == 1
    assert address in caplog.text


def test_a_manager_that_does_not_read_holds_nothing_up(
    manager: Manager, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_manager, "STATE_TIMEOUT", 0.01)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                sender.sendto(b"fill", manager.socket.getsockname())
        notifier = Notifier.from_environment(manager.environment())
        with caplog.at_level(logging.WARNING):
            notifier.status("no room")  # would hang here
            notifier.ready()
    assert len(caplog.records) == 2  # no room now, and no room within the time for a change of state

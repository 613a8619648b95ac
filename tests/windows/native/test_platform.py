"""The platform on Windows, beyond what the tests of every platform ask: sharing, groups, interfaces.

What every platform does is in tests/responder/net/test_udp.py and test_tcp.py, which run here too; what needs several
links is in tests/windows/test_lab.py.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from ipaddress import ip_address

import pytest
import trio
import trio.testing

from responder.dispatch.access import interface_matches
from responder.net import platform as this_platform
from responder.net.types import Membership
from responder.net.windows.change_callbacks import NOTIFIERS, change_callbacks
from responder.net.windows.platform import WindowsPlatform
from responder.net.windows.winsock_types import AF_INET6

from .accounting import Flat

assert sys.platform == "win32"  # type checkers elsewhere skip the rest

from responder.net.windows.winsock_native import AddressListChange  # noqa: E402 - exists there only

LO = ip_address("127.0.0.1")


@pytest.fixture
def platform() -> WindowsPlatform:
    found = this_platform()
    assert isinstance(found, WindowsPlatform)
    return found


def test_a_shared_port_is_taken_twice_with_a_warning(
    platform: WindowsPlatform, caplog: pytest.LogCaptureFixture
) -> None:
    one = platform.open_udp(0, shared=True)
    assert "shared" not in caplog.text
    other = platform.open_udp(one.port, shared=True)
    assert "shared" in caplog.text
    one.close()
    other.close()


async def test_groups_are_joined_once_and_left_once(platform: WindowsPlatform) -> None:
    """Datagrams to them are the lab's matter: the loopback here has no multicast route."""
    sock = platform.open_udp(0)
    loopback = next(entry for entry in await platform.interfaces() if "loopback" in entry.flags)
    for group in ("239.255.70.7", "ff02::7007"):
        membership = Membership(ip_address(group), loopback.index)
        sock.join(membership, loopback)
        sock.join(membership, loopback)
        sock.leave(membership, None)
        with pytest.raises(OSError, match="not joined"):
            sock.leave(membership, loopback)
    sock.close()


async def test_interfaces_have_friendly_names_flags_and_addresses(platform: WindowsPlatform) -> None:
    with trio.testing.assert_checkpoints():
        table = await platform.interfaces()
    loopback = next(entry for entry in table if "loopback" in entry.flags)
    assert not loopback.name.startswith("{")  # a GUID
    assert loopback.has(LO)
    assert {"up", "running"} <= loopback.flags
    assert loopback.mtu > 1000
    assert [entry.index for entry in table] == sorted(entry.index for entry in table)


def test_patterns_of_interfaces_ignore_case() -> None:
    assert interface_matches("Ethernet 2", ("ethernet*",))
    assert not interface_matches("Ethernet 2", ("!ETHERNET 2",))


async def test_a_watch_is_armed_and_leaves_nothing_behind(
    platform: WindowsPlatform, caplog: pytest.LogCaptureFixture
) -> None:
    """That it tells of a change is shown in tests/windows/test_following.py."""

    async def watch_once() -> None:
        async with platform.watch_interfaces() as watch:
            await trio.testing.wait_all_tasks_blocked()
            with trio.testing.assert_checkpoints():
                assert await watch.interfaces()

    with trio.fail_after(60):
        await watch_once()
        with Flat():
            for _ in range(20):
                await watch_once()
    assert "no longer signalled" not in caplog.text


def test_an_address_list_that_does_not_change_is_waited_for() -> None:
    change = AddressListChange(AF_INET6)
    assert change.arm() == 0
    change.close()  # with the operation under way
    with pytest.raises(OSError, match=r"WinError 100\d\d"):
        AddressListChange(9999)


def test_the_system_calls_back() -> None:
    """Once, where it is asked to at the start: Wine says nothing more."""
    called = threading.Event()
    with change_callbacks(called.set, at_once=True):
        assert called.wait(10)
    with change_callbacks(pytest.fail):  # taken back while nothing happens
        pass


def test_callbacks_are_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or Windows would call what is gone."""
    iphlpapi, back = ctypes.WinDLL("iphlpapi"), []
    cancel = iphlpapi.CancelMibChangeNotify2

    class Spied:
        CancelMibChangeNotify2 = staticmethod(lambda handle: back.append(cancel(handle)))

        def __getattr__(self, name: str) -> object:
            return getattr(iphlpapi, name)

    monkeypatch.setattr(ctypes, "WinDLL", lambda _name: Spied())
    with change_callbacks(lambda: None):
        assert back == []
    assert back == [0] * len(NOTIFIERS)

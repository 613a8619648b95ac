"""`responderd interfaces`, on a fake host and, with --watch, a fake clock."""

from __future__ import annotations

import errno
import json

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from responder import net
from responder.cli import interfaces
from responder.datagram import Interface, InterfaceAddress
from responder.errors import NetworkError
from tests.fakes import GUEST, LAN, FakePlatform

from .support import call


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> FakePlatform:
    platform = FakePlatform(tables=[(attrs.evolve(LAN, addresses=LAN.addresses[:1]),)])
    monkeypatch.setattr(net, "platform", lambda: platform)
    return platform


async def watched(platform: FakePlatform, *, as_json: bool) -> None:
    """The command, while a tunnel comes, LAN is renamed and gets an address, and the tunnel goes."""
    tunnel = attrs.evolve(
        GUEST, name="tun0", addresses=[InterfaceAddress("10.8.0.1", 32, peer=LAN.addresses[0].address)]
    )
    (lan,) = platform.tables[0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(interfaces._watch, as_json)
        await wait_all_tasks_blocked()
        platform.watch.set(tunnel)
        await trio.sleep(1)
        platform.watch.set(attrs.evolve(lan, name="office", addresses=LAN.addresses[:2]))
        await trio.sleep(1)
        platform.watch.remove(tunnel.index)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()


async def test_as_text(platform: FakePlatform, capsys: pytest.CaptureFixture[str], autojump_clock: MockClock) -> None:
    await watched(platform, as_json=False)
    table, _, changes = capsys.readouterr().out.partition("appeared")
    assert "10.71.0.1/24" in table
    flags = "broadcast multicast running up"
    assert f"appeared{changes}".splitlines() == [
        f"appeared tun0 (3): {flags} 10.8.0.1 to 10.71.0.1",
        "renamed office (2): was lan",
        "address-added office (2): 10.71.0.2/24",
        f"disappeared tun0 (3): {flags} 10.8.0.1 to 10.71.0.1",
    ]


async def test_as_json(platform: FakePlatform, capsys: pytest.CaptureFixture[str], autojump_clock: MockClock) -> None:
    await watched(platform, as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines] == ["present", "appeared", "renamed", "address-added", "disappeared"]
    assert [line["interface"]["index"] for line in lines] == [2, 3, 2, 2, 3]
    assert lines[1]["interface"]["addresses"] == [{"address": "10.8.0.1", "prefix_length": 32, "peer": "10.71.0.1"}]
    assert lines[2]["old_name"] == "lan"
    assert lines[3]["address"] == {"address": "10.71.0.2", "prefix_length": 24}


TABLE = (
    Interface(
        index=2,
        name="eth0 [x] :smile:",
        flags=frozenset({"up", "multicast"}),
        mtu=1500,
        addresses=(InterfaceAddress("192.0.2.7", 24), InterfaceAddress("fe80::1", 64)),
    ),
    Interface(index=1, name="lo", flags=frozenset({"up", "loopback"}), mtu=65536),
)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "platform", lambda: FakePlatform(tables=[TABLE]))


@pytest.mark.usefixtures("table")
def test_interfaces_as_json_is_json_alone() -> None:
    result = call("interfaces", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [
        {"index": 1, "name": "lo", "flags": ["loopback", "up"], "mtu": 65536, "link_address": "", "addresses": []},
        {
            "index": 2,
            "name": "eth0 [x] :smile:",
            "flags": ["multicast", "up"],
            "mtu": 1500,
            "link_address": "",
            "addresses": [
                {"address": "192.0.2.7", "prefix_length": 24},
                {"address": "fe80::1", "prefix_length": 64},
            ],
        },
    ]


@pytest.mark.usefixtures("table")
def test_interfaces_as_a_table() -> None:
    result = call("interfaces")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert rows[0] == ["index", "name", "flags", "MTU", "addresses"]
    assert rows[2:] == [
        ["1", "lo", "loopback", "up", "65536"],
        ["2", "eth0", "[x]", ":smile:", "multicast", "up", "1500", "192.0.2.7/24"],
        ["fe80::1/64"],
    ]
    assert "\x1b" not in result.stdout


def test_interfaces_that_the_system_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> FakePlatform:
        raise NetworkError(errno.ENOSYS, "not supported")

    monkeypatch.setattr(net, "platform", refused)
    result = call("interfaces", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "not supported" in result.stderr

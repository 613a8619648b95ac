"""mDNS on Windows, by the Windows Python under Wine (tests/windows/README.md): browsing both ways.

The daemon or the browser is Windows' own, the other end Linux.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.daemon import Child, daemon
from tests.lab.multihomed import LINK_LOCAL, Multihomed, own
from tests.lab.test_mdns import INSTANCE, answers_of, config, established, group_socket
from tests.windows.wine import WindowsPython

pytestmark = [pytest.mark.windows, pytest.mark.lab]


@pytest.fixture(scope="module")
def network() -> Iterator[Multihomed]:
    with Multihomed() as network:
        yield network


@pytest.fixture(scope="module")
def served(network: Multihomed, windows: WindowsPython, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    with windows.machine(network.host) as host, host.daemon(config(tmp_path_factory.mktemp("mdns"))) as child:
        established(network, 1)
        established(network, 2)
        yield child


def addresses(number: int) -> set[str]:
    """Of the host on a link, as a client on it shows them."""
    return {*own(number).values(), LINK_LOCAL[4], f"{LINK_LOCAL[6]}%link{number}"}


@pytest.mark.parametrize("number", [1, 2])
def test_linux_finds_windows_on_each_link(number: int, network: Multihomed, served: Child) -> None:
    client = network.clients[number]
    (found,) = json.loads(client.run(sys.executable, "-m", "responder", "mdns", "browse", "_http._tcp", "--json"))
    assert (found["name"], found["host"], found["port"], found["txt"]) == ("Lab page", "lab.local", 8080, ["path=/"])
    assert set(found["addresses"]) == addresses(number)
    (found,) = json.loads(client.run(sys.executable, "-m", "responder", "mdns", "resolve", INSTANCE, "--json"))
    assert set(found["addresses"]) == addresses(number)


def test_a_windows_host_says_goodbye(windows: WindowsPython, tmp_path: Path) -> None:
    with Multihomed() as network, windows.machine(network.host) as host, group_socket(network, 2) as sock:
        with host.daemon(config(tmp_path)) as child:
            established(network, 2)
            assert child.stop() == 0, "\n".join(child.said)
        while not any(record.ttl == 0 for record in answers_of(sock.recv(9000), "lab.local")):
            pass


def test_windows_finds_linux(windows: WindowsPython, tmp_path: Path) -> None:
    with (
        Multihomed() as network,
        daemon(network.host, config(tmp_path), folder=tmp_path),
        windows.machine(network.clients[2]) as client,
    ):
        established(network, 2)
        done = client.run("-m", "responder", "mdns", "browse", "_http._tcp", "--json", cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert (found["name"], found["host"], found["port"]) == ("Lab page", "lab.local", 8080)
    told = {address.partition("%")[0] for address in found["addresses"]}
    assert told == {*own(2).values(), *LINK_LOCAL.values()}

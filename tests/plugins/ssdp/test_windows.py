"""SSDP on Windows, by the Windows Python under Wine (tests/windows/README.md): the lab's searches.

The daemon is Windows' own, those who search are Linux: they hear an answer from the right address and fetch what its
LOCATION names.  The side-by-side judges answers (tests/benchmarks/ssdp.py).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.benchmarks.ssdp import search, ways
from tests.lab.daemon import Child, daemon
from tests.lab.multihomed import LINK_LOCAL, Multihomed, own
from tests.lab.test_ssdp import UUID, config, listener, next_of
from tests.windows.wine import WindowsPython

pytestmark = [pytest.mark.windows, pytest.mark.lab]


@pytest.fixture(scope="module")
def network() -> Iterator[Multihomed]:
    with Multihomed() as network:
        yield network


@pytest.fixture(scope="module")
def served(network: Multihomed, windows: WindowsPython, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    with windows.machine(network.host) as host, host.daemon(config(tmp_path_factory.mktemp("ssdp"))) as child:
        yield child


def test_a_windows_device_is_found_where_it_is(network: Multihomed, served: Child) -> None:
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda way: search(network, way), ways()))
    wrong = [each for each in verdicts if not (each.answered and each.source and each.location and each.reachable)]
    assert not wrong, [f"{each.way}: {each.detail}" for each in wrong]


def test_the_search_command_of_linux_sees_windows(network: Multihomed, served: Child) -> None:
    rows = json.loads(network.clients[1].run(sys.executable, "-m", "responder", *SEARCH))
    addresses = {row["address"] for row in rows}
    # Which of two addresses with the same prefix speaks for the link is the system's choice.
    assert len(addresses) == 3
    assert addresses <= {*own(1).values(), LINK_LOCAL[6]}
    assert all(row["address"] in row["location"] for row in rows)


SEARCH = ("ssdp", "search", "--json", "--mx", "1", "--st", f"uuid:{UUID}")


def test_a_windows_device_says_alive_and_byebye(windows: WindowsPython, tmp_path: Path) -> None:
    with Multihomed() as network, windows.machine(network.host) as host, listener(network, 2) as sock:
        with host.daemon(config(tmp_path)) as child:
            alive = next_of(sock, b"ssdp:alive")
            assert child.stop() == 0, "\n".join(child.said)
        byebye = next_of(sock, b"ssdp:byebye")
    assert alive["LOCATION"].startswith("http://10.72.0.1:")
    assert alive["BOOTID.UPNP.ORG"] == byebye["BOOTID.UPNP.ORG"]


def test_the_search_command_of_windows_sees_linux(windows: WindowsPython, tmp_path: Path) -> None:
    with (
        Multihomed() as network,
        daemon(network.host, config(tmp_path), folder=tmp_path),
        windows.machine(network.clients[2]) as client,
    ):
        done = client.run("-m", "responder", *SEARCH, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["address"] for row in rows} == {"10.72.0.1", "fd72::1", "fe80::1"}
    assert all(row["address"] in row["location"] for row in rows)

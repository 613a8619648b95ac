"""sntp with the clients that people have, on a host with two links: each address answers for itself."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.sntp.support import TRANSMIT, request, told

from .daemon import Child, daemon
from .multihomed import GROUP_V4, GROUP_V6, LINK_LOCAL, SERVICE, Multihomed, Way, all_ways, own

pytestmark = [pytest.mark.lab]

CONFIG = f"""
[plugins.sntp]
stratum = 5
trust = "always"
groups = ["224.0.1.1", "ff05::101", "{GROUP_V4}", "{GROUP_V6}"]
keys = {{ 7 = "2b7e151628aed2a6abf7158809cf4f3c" }}
"""

ADDRESSES = [own(1)["secondary-v4"], own(2)["secondary-v4"], own(1)["secondary-v6"], SERVICE[4], SERVICE[6]]
"""None of them is what a routing table would answer from."""


@pytest.fixture(scope="module", autouse=True)
def served(network: Multihomed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder = tmp_path_factory.mktemp("sntp")
    file = folder / "responderd.toml"
    file.write_text(CONFIG)
    with daemon(network.host, file, folder=folder) as child:
        yield child
    assert child.status == 0, "\n".join(child.said)


def run(network: Multihomed, *argv: str) -> str:
    """What a program of client 1 prints; some say by their status that they would set the clock, or that they won't."""
    done = subprocess.run(network.clients[1].argv(*argv), capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


@pytest.mark.parametrize("way", all_ways(), ids=str)
def test_the_answer_comes_from_where_was_asked(network: Multihomed, way: Way) -> None:
    payload, source = network.exchange(way, request(), 123)
    assert network.verdict_on_source(way, source, 123) == ""
    answer = told(payload)
    assert (answer.leap, answer.stratum, answer.originate) == (0, 5, TRANSMIT)
    assert 0 <= answer.transmit - answer.receive < 60


@pytest.mark.parametrize(("group", "expected"), [("224.0.1.1", "10.71.0.1"), ("ff05::101", "fd71::1")])
def test_manycast(network: Multihomed, group: str, expected: str) -> None:
    way = Way(1, "manycast", group, frozenset([expected]), "fd71::9" if ":" in group else "")
    payload, source = network.exchange(way, request(), 123)
    assert network.verdict_on_source(way, source, 123) == ""
    assert told(payload).stratum == 5


@pytest.mark.clients("ntpdate")
def test_ntpdate(network: Multihomed) -> None:
    """It takes no answer from another address."""
    for address in ADDRESSES:
        printed = run(network, "ntpdate", "-q", address)
        assert re.search(rf"{re.escape(address)} .*s5 ", printed), printed


@pytest.mark.clients("ntpdig")
def test_ntpdig(network: Multihomed) -> None:
    for address in [*ADDRESSES, f"{LINK_LOCAL[6]}%link1"]:
        printed = run(network, "ntpdig", "-j", address)
        answer = json.loads(printed)
        assert answer["stratum"] == 5, printed
        assert abs(answer["offset"]) < 1, printed
        assert answer["leap"] == "no-leap", printed


@pytest.mark.clients("chronyd")
def test_chronyd(network: Multihomed, tmp_path: Path) -> None:
    """By version 4, by version 3, and by a key of the config; several at once, since each takes its seconds."""
    keys = tmp_path / "chrony.keys"
    keys.write_text("7 AES128 HEX:2B7E151628AED2A6ABF7158809CF4F3C\n")
    servers = [f"{address} version 3" for address in ADDRESSES]
    servers += [f"{address} key 7" for address in (own(2)["secondary-v4"], SERVICE[6])]
    asked = {}
    for number, server in enumerate(servers):
        common = (f"keyfile {keys}", f"pidfile {tmp_path / str(number)}", "cmdport 0", "bindcmdaddress /", "user root")
        argv = network.clients[1].argv("chronyd", "-Q", "-t", "30", "-d", f"server {server} iburst", *common)
        asked[server] = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = {server: process.communicate(timeout=60)[0] for server, process in asked.items()}
    assert [server for server, text in said.items() if "System clock wrong by" not in text] == [], said

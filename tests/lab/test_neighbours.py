"""llmnr, nbns and wsd with the clients that people have, on a host with two links.

Each client finds the host on its own link by that link's addresses, and by none of the other's.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from .daemon import Child, daemon
from .multihomed import LINK_LOCAL, Multihomed, own

pytestmark = [pytest.mark.lab]

CONFIG = """
[daemon]
state = "{state}"

[plugins.llmnr]
names = ["lab"]
"""


@pytest.fixture(scope="module")
def network() -> Iterator[Multihomed]:
    with Multihomed() as network:
        yield network


@pytest.fixture(scope="module", autouse=True)
def served(network: Multihomed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder = tmp_path_factory.mktemp("neighbours")
    file = folder / "responderd.toml"
    file.write_text(CONFIG.format(state=folder / "state"))
    with daemon(network.host, file, folder=folder) as child:
        yield child
    assert child.status == 0, "\n".join(child.said)
    assert not [event for event in child.events if event.get("level") in {"warning", "error"}]


def ask(network: Multihomed, number: int, *argv: str) -> str:
    """What a client's program prints; some say by their status that they found nothing, which is looked at."""
    done = subprocess.run(network.clients[number].argv(*argv), capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def responderd(network: Multihomed, number: int, *argv: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(
        network.clients[number].run(sys.executable, "-m", "responder", *argv, "--json")
    )
    return rows


def addresses_in(text: str) -> set[str]:
    """The host's addresses on the links that a text names, link-local ones excepted: those are the same on both."""
    every = {address for number in (1, 2) for address in own(number).values()}
    return {address for address in every if re.search(rf"(?<![0-9a-f:.]){re.escape(address)}(?![0-9a-f:.])", text)}


def own_v4(number: int) -> set[str]:
    return {address for kind, address in own(number).items() if "v4" in kind}


both_links = pytest.mark.parametrize("number", [1, 2])


class TestLlmnr:
    @both_links
    @pytest.mark.parametrize("family", [[], ["-6"]])
    @pytest.mark.clients("llmnr-query")
    def test_llmnr_query(self, network: Multihomed, number: int, family: list[str]) -> None:
        printed = ask(network, number, "llmnr-query", *family, "-I", f"link{number}", "-c", "2", "lab")
        assert addresses_in(printed) == set(own(number).values()), printed
        assert LINK_LOCAL[6] in printed

    @both_links
    @pytest.mark.clients("nmap")
    def test_nmap(self, network: Multihomed, number: int) -> None:
        arguments = ("--script", "llmnr-resolve", "--script-args", "llmnr-resolve.hostname=lab", "-e", f"link{number}")
        printed = ask(network, number, "nmap", *arguments)
        assert addresses_in(printed) <= own_v4(number), printed
        assert "lab : " in printed

    @both_links
    def test_responderd(self, network: Multihomed, number: int) -> None:
        rows = responderd(network, number, "llmnr", "query", "lab")
        assert {row["name"] for row in rows} == {"lab"}
        assert {row["data"] for row in rows} == {*own(number).values(), *LINK_LOCAL.values()}
        assert {row["flags"] for row in rows} <= {"", "tentative"}

    @both_links
    def test_an_address_is_told_on_its_link_only(self, network: Multihomed, number: int) -> None:
        address = own(number)["primary-v4"]
        assert {row["data"] for row in responderd(network, number, "llmnr", "query", address)} == {"lab"}
        assert responderd(network, 3 - number, "llmnr", "query", address) == []

    @both_links
    def test_a_name_of_others_is_not_told(self, network: Multihomed, number: int) -> None:
        assert responderd(network, number, "llmnr", "query", "wpad") == []

"""llmnr, nbns and wsd with the clients that people have, on a host with two links.

Each client finds the host on its own link by that link's addresses, and by none of the other's.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.requirements import required

from . import resolved as systemd
from .daemon import BOUND, Child, daemon
from .multihomed import LINK_LOCAL, Multihomed, own

pytestmark = [pytest.mark.lab]

ETH_P_IP = 0x0800

CONFIG = """
[daemon]
state = "{state}"

[plugins.llmnr]
names = ["lab"]

[plugins.nbns]
names = ["LAB"]
workgroup = "OFFICE"

[plugins.wsd]
name = "lab"
workgroup = "OFFICE"
uuid = "{uuid}"
"""

UUID = "2fac1234-31f8-41b4-a222-08002b34c003"


@pytest.fixture(scope="module")
def network() -> Iterator[Multihomed]:
    with Multihomed() as network:
        yield network


@pytest.fixture(scope="module", autouse=True)
def served(network: Multihomed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder = tmp_path_factory.mktemp("neighbours")
    file = folder / "responderd.toml"
    file.write_text(CONFIG.format(state=folder / "state", uuid=UUID))
    with ExitStack() as stack:
        listeners = [stack.enter_context(broadcasts(network, number)) for number in (1, 2)]
        with daemon(network.host, file, folder=folder) as child:
            for sock in listeners:
                wait_until_registered(sock)
            yield child
    assert child.status == 0, "\n".join(child.said)
    ours = [event for event in child.events if event.get("logger", "").startswith("responder_plugins")]
    assert not [event for event in ours if event.get("level") in {"warning", "error"}]


def broadcasts(network: Multihomed, number: int) -> socket.socket:
    """A socket of that client that hears NetBIOS broadcasts."""
    sock = network.clients[number].socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("", 137))
    sock.settimeout(BOUND)
    return sock


def wait_until_registered(sock: socket.socket) -> None:
    """Return once the last of five names was claimed for good on each of a link's subnets: RD is clear then."""
    claimed: set[tuple[bytes, bytes]] = set()
    while len(claimed) < 5 * 2:
        payload = sock.recv(4096)
        if payload[2] >> 3 == 5 and not payload[2] & 1:
            claimed.add((payload[12:46], payload[-4:]))


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
    @pytest.mark.skipif(
        systemd.DAEMON is None or systemd.CLIENT is None,
        reason="systemd-resolved is not there (see tests/lab/resolved.py)",
    )
    def test_systemd_resolved(self, network: Multihomed, tmp_path: Path, number: int) -> None:
        folder, link = tmp_path / "resolved", f"link{number}"
        with systemd.resolved(network.clients[number], folder, link, protocol="llmnr") as service:
            said = {option: service.run("resolvectl", "-p", "llmnr", option, "query", "lab") for option in ("-4", "-6")}
            assert addresses_in(said["-4"]) == own_v4(number), said
            assert addresses_in(said["-6"]) == set(own(number).values()) - own_v4(number), said
            assert LINK_LOCAL[6] in said["-6"]
            # By TCP to the address itself.
            assert "lab" in service.run("resolvectl", "-p", "llmnr", "query", own(number)["secondary-v4"]).split()

    @both_links
    def test_an_address_is_told_on_its_link_only(self, network: Multihomed, number: int) -> None:
        address = own(number)["primary-v4"]
        assert {row["data"] for row in responderd(network, number, "llmnr", "query", address)} == {"lab"}
        assert responderd(network, 3 - number, "llmnr", "query", address) == []

    @both_links
    def test_a_name_of_others_is_not_told(self, network: Multihomed, number: int) -> None:
        assert responderd(network, number, "llmnr", "query", "wpad") == []

    @both_links
    def test_the_hop_limits(self, network: Multihomed, number: int) -> None:
        """RFC 4795 section 2.5: 255 for UDP; 1 for TCP, the SYN-ACK included, so that nobody off the link connects."""
        client, address = network.clients[number], own(number)["primary-v4"]
        with (
            client.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP)) as tap,
            client.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            client.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tap.settimeout(BOUND)
            tcp.settimeout(BOUND)
            tcp.connect((address, 5355))
            udp.bind((f"10.7{number}.0.9", 0))
            udp.sendto(bytes.fromhex("000700000001000000000000036c61620000010001"), ("224.0.0.252", 5355))
            limits: dict[int, int] = {}
            while set(limits) != {socket.IPPROTO_TCP, socket.IPPROTO_UDP}:
                packet = tap.recv(4096)
                if packet[12:16] == socket.inet_aton(address) and packet[20:22] == (5355).to_bytes(2):
                    limits.setdefault(packet[9], packet[8])
        assert limits == {socket.IPPROTO_TCP: 1, socket.IPPROTO_UDP: 255}


class TestNbns:
    @both_links
    @pytest.mark.parametrize("name", ["LAB", "LAB#20", "OFFICE#1e"])
    @pytest.mark.clients("nmblookup")
    def test_nmblookup(self, network: Multihomed, smb_conf: str, number: int, name: str) -> None:
        printed = ask(network, number, "nmblookup", "-s", smb_conf, "-B", f"10.7{number}.0.255", name)
        assert addresses_in(printed) == {own(number)["primary-v4"]}, printed

    @both_links
    @pytest.mark.clients("nmblookup")
    def test_nmblookup_of_an_address(self, network: Multihomed, smb_conf: str, number: int) -> None:
        printed = ask(network, number, "nmblookup", "-s", smb_conf, "-A", own(number)["secondary-v4"])
        for row in (
            r"LAB\s+<00>",
            r"LAB\s+<03>",
            r"LAB\s+<20>",
            r"OFFICE\s+<00> - <GROUP>",
            r"OFFICE\s+<1e> - <GROUP>",
        ):
            assert re.search(row, printed), printed
        assert link_address(network, number) in printed.lower().replace("-", ":")

    @both_links
    @pytest.mark.clients("nbtscan")
    def test_nbtscan(self, network: Multihomed, number: int) -> None:
        printed = ask(network, number, "nbtscan", f"10.7{number}.0.0/24")
        assert addresses_in(printed) == own_v4(number), printed
        assert len(re.findall(r"^10[0-9.]+ +LAB +<server> +LAB ", printed, re.MULTILINE)) == 2, printed
        assert link_address(network, number) in printed

    @both_links
    @pytest.mark.clients("nmap")
    def test_nmap(self, network: Multihomed, number: int) -> None:
        address = own(number)["secondary-v4"]
        printed = ask(network, number, "nmap", "-n", "-Pn", "-sU", "-p", "137", "--script", "nbstat", address)
        assert "NetBIOS name: LAB" in printed, printed
        assert link_address(network, number) in printed.lower()

    @both_links
    def test_responderd(self, network: Multihomed, number: int) -> None:
        (row,) = [
            row for row in responderd(network, number, "nbns", "query", "lab") if not row["data"].startswith("169.254.")
        ]
        assert row["address"] == row["data"] == own(number)["primary-v4"]
        rows = responderd(network, number, "nbns", "status", own(number)["secondary-v4"])
        assert {row["name"] for row in rows} == {"LAB<00>", "LAB<03>", "LAB<20>", "OFFICE<00>", "OFFICE<1e>"}
        assert {row["link_address"] for row in rows} == {link_address(network, number)}
        by_link = ("--interface", f"link{number}")
        assert responderd(network, number, "nbns", "status", own(number)["secondary-v4"], *by_link) == rows

    @both_links
    def test_a_name_of_others_is_not_told(self, network: Multihomed, number: int) -> None:
        assert responderd(network, number, "nbns", "query", "wpad") == []


class TestWsd:
    @both_links
    @pytest.mark.clients("wsdd")
    def test_wsdd(self, network: Multihomed, number: int) -> None:
        """Debian's client probes, fetches the metadata from the address that it is told, and names what it found."""
        found: set[str] = set()
        argv = network.clients[number].argv("wsdd", "--discovery", "--no-host", "-v", "-s", "-i", f"link{number}")
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            for line in process.stderr:
                told = re.search(r"discovered lab in Workgroup:OFFICE on (\S+)%link", line)
                if told:
                    found.add(told[1])
                if len(found) == 2:
                    break
        finally:
            process.kill()
            process.communicate()
        addresses = {address.strip("[]") for address in found}
        assert len(addresses) == 2
        assert addresses <= {*own(number).values(), *LINK_LOCAL.values()}, found

    @both_links
    def test_wsdiscovery(self, network: Multihomed, number: int) -> None:
        program = Path(sys.executable).with_name("wsdiscover")
        if not program.exists():
            if "clients" in required():
                pytest.fail("the program wsdiscover is missing (PyPI: WSDiscovery)")
            pytest.skip("clients: the program wsdiscover is missing (PyPI: WSDiscovery)")
        printed = ask(network, number, str(program), "-t", "3")
        # It shows one of the addresses by which it was answered.
        (address,) = re.findall(r"address: (\S+):5357", printed)
        assert address.strip("[]") in {*own(number).values(), *LINK_LOCAL.values()}, printed

    @both_links
    @pytest.mark.parametrize("family", [[], ["-6"]])
    @pytest.mark.clients("nmap")
    def test_nmap(self, network: Multihomed, number: int, family: list[str]) -> None:
        address = own(number)["secondary-v6" if family else "secondary-v4"]
        printed = ask(
            network, number, "nmap", *family, "-n", "-Pn", "-sU", "-p", "3702", "--script", "wsdd-discover", address
        )
        host = f"[{address}]" if family else address
        assert printed.count(f"Address: http://{host}:5357/{UUID}") == 2, printed  # both versions
        assert "Devices" in printed
        assert "WCF Services" in printed

    @both_links
    def test_responderd(self, network: Multihomed, number: int) -> None:
        rows = responderd(network, number, "wsd", "discover")
        assert {row["endpoint"] for row in rows} == {f"urn:uuid:{UUID}"}
        for row in rows:
            assert row["interface"] == f"link{number}"
            host = f"[{row['address']}]" if ":" in row["address"] else row["address"]
            assert row["xaddrs"] == f"http://{host}:5357/{UUID}"
        assert {row["address"] for row in rows} <= {*own(number).values(), *LINK_LOCAL.values()}
        assert len({row["address"] for row in rows}) >= 2


@pytest.fixture(scope="module")
def smb_conf(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Samba's programs want a file, and say so where it is missing."""
    file = tmp_path_factory.mktemp("samba") / "smb.conf"
    file.write_text("[global]\n")
    return str(file)


def link_address(network: Multihomed, number: int) -> str:
    """The hardware address of the host's end of a link."""
    rows = json.loads(network.host.run("ip", "-j", "link", "show", f"link{number}"))
    return str(rows[0]["address"])

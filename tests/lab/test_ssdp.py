"""Real control points on each link and family find the device, with a LOCATION of their own link, and fetch it.

All clients ask at the same time, since some of them take their time.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.requirements import required

from .changing import memory
from .daemon import BOUND, Child, daemon
from .multihomed import LINK_LOCAL, PATIENCE, Multihomed, own
from .namespaces import Lab, Namespace
from .test_hostile import ip_packet, udp

pytestmark = [pytest.mark.lab, pytest.mark.clients("gssdp-discover", "upnpc", "nmap", "curl")]

PORT = 49200
UUID = "2fac1234-31f8-11b4-a222-08002b34c003"
GSSDP = Path(__file__).with_name("gssdp.py")
SEARCH = b'M-SEARCH * HTTP/1.1\r\nHOST: x\r\nMAN: "ssdp:discover"\r\nST: upnp:rootdevice\r\n\r\n'


def config(folder: Path) -> Path:
    file = folder / "ssdp.toml"
    file.write_text(f"""
        [daemon]
        state = "{folder / "state"}"
        [plugins.ssdp]
        ports.device = {PORT}
        [[plugins.ssdp.devices]]
        uuid = "{UUID}"
        type = "urn:schemas-upnp-org:device:Basic:1"
        friendly_name = "Lab device"
        services = ["urn:schemas-upnp-org:service:SwitchPower:1"]
    """)
    return file


@pytest.fixture(scope="module")
def ssdp(network: Multihomed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder = tmp_path_factory.mktemp("ssdp")
    with daemon(network.host, config(folder), folder=folder) as child:
        yield child
    assert child.status == 0, "\n".join(child.said)
    # Busy: the idle connections that gave way.
    assert child.totals("ssdp").keys() <= {"sent", "answered", "connected", "passed", "own-source", "busy"}


MISSING = re.compile(r"No module named .*|Namespace GSSDP not available.*")
"""What Python says where a client's library is not there: the marker `clients` knows programs only."""

Argv = Callable[[int, int], list[str]]
"""(the client's number, the index of its link) -> a command line."""


def _upnp_client(bind: str, *target: str) -> Argv:
    """async_upnp_client's own command."""
    code = "import sys; from async_upnp_client.cli import main; sys.exit(main())"
    return lambda number, index: [
        *(sys.executable, "-c", code, "--timeout", "3", "search", "--search_target", "upnp:rootdevice"),
        *(word.format(number=number, index=index) for word in ("--bind", bind, *target)),
    ]


def _nmap(*rest: str) -> Argv:
    arguments = ("nmap", "-v", "-n", "-Pn", "-sU", "-p", "1900", "--script", "upnp-info")
    return lambda number, _index: [*arguments, *(word.format(number=number) for word in rest)]


CLIENTS: dict[str, tuple[int, Argv]] = {
    "gssdp-discover-v4": (4, lambda number, _: ["gssdp-discover", "-i", f"link{number}", "-n", "4"]),
    "gssdp-v6": (6, lambda number, _: ["/usr/bin/python3", str(GSSDP), "discover", f"link{number}", "6", "4"]),
    "upnpc-v4": (4, lambda number, _: ["upnpc", "-m", f"link{number}", "-l"]),
    "upnpc-v6": (6, lambda number, _: ["upnpc", "-6", "-m", f"link{number}", "-l"]),
    "async_upnp_client-v4": (4, _upnp_client("10.7{number}.0.9")),
    "async_upnp_client-link-local": (6, _upnp_client("fe80::9%{index}", "--target", "FF02::C%{index}")),
    "async_upnp_client-site": (6, _upnp_client("fd7{number}::9%{index}", "--target", "FF05::C%{index}")),
    # nmap 7.93 fetches the LOCATION only with override=false, and can't read one with an IPv6 address then.
    "nmap-v4": (4, _nmap("--script-args", "upnp-info.override=false", "10.7{number}.0.2")),
    "nmap-v6": (6, _nmap("-6", "fd7{number}::2")),
    "responderd": (0, lambda _number, _index: [sys.executable, "-m", "responder", "ssdp", "search"]),
}


@pytest.fixture(scope="module")
def seen(network: Multihomed, ssdp: Child) -> dict[tuple[int, str], str]:
    """What each client printed, by the number of its link and its name."""

    def ask(which: tuple[int, str]) -> str:
        number, name = which
        argv = CLIENTS[name][1](number, network.link_index(number))
        # Not all say by their status whether they found anything; what they print is what is looked at.
        done = subprocess.run(
            network.clients[number].argv(*argv), capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout + done.stderr

    every = [(number, name) for number in (1, 2) for name in CLIENTS]
    with ThreadPoolExecutor(len(every)) as pool:
        return dict(zip(every, pool.map(ask, every), strict=True))


def locations(printed: str) -> set[tuple[str, str]]:
    """(address, path) of each LOCATION."""
    found = re.findall(rf"http://(\[[^\]]+\]|[0-9.]+):{PORT}(/[^\s\"]*device\.xml)", printed)
    return {(host.strip("[]").partition("%")[0], path) for host, path in found}


def url_host(address: str, number: int) -> str:
    """An address as that client's curl wants it: a link-local one with its own name of the link (RFC 6874)."""
    if ":" not in address:
        return address
    return f"[{address}%25link{number}]" if address.startswith("fe80") else f"[{address}]"


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("number", [1, 2])
def test_a_control_point_finds_it_where_it_is(
    network: Multihomed, seen: dict[tuple[int, str], str], number: int, name: str
) -> None:
    printed = seen[number, name]
    if (missing := MISSING.search(printed)) and "clients" not in required():
        pytest.skip(f"clients: {missing[0]} (Debian: python3-gi, gir1.2-gssdp-1.6; PyPI: async-upnp-client)")
    found = locations(printed)
    assert found, printed
    mine = {*own(number).values(), *LINK_LOCAL.values()}
    family = CLIENTS[name][0]
    for address, path in found:
        assert address in mine, printed
        assert family in (0, ip_address(address).version), printed
        if (number, address) == (2, LINK_LOCAL[4]):
            continue  # the same prefix on both links: Linux answers a SYN by the first, whoever listens (see test_dig)
        url = f"http://{url_host(address, number)}:{PORT}{path}"
        page = network.clients[number].run("curl", "-sSg", "--max-time", "10", url)
        assert f"<UDN>uuid:{UUID}</UDN>" in page
    other = own(3 - number).values()
    assert not [address for address in other if address in printed], printed


@pytest.mark.parametrize("number", [1, 2])
def test_clients_that_fetch_by_themselves_get_it(seen: dict[tuple[int, str], str], number: int) -> None:
    for name in ("upnpc-v4", "upnpc-v6"):
        assert "UPnP device found. Is it an IGD ?" in seen[number, name]
    assert "Name: Lab device" in seen[number, "nmap-v4"]


DESCRIBED = """
import asyncio, sys
from async_upnp_client.aiohttp import AiohttpRequester
from async_upnp_client.client_factory import UpnpFactory

async def main():
    device = await UpnpFactory(AiohttpRequester()).async_create_device(sys.argv[1])
    print(device.udn, device.name, *device.services)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("kind", ["primary-v4", "primary-v6", "link-local"])
def test_a_strict_control_point_can_use_the_descriptions(
    network: Multihomed, ssdp: Child, number: int, kind: str
) -> None:
    """async_upnp_client refuses, unless told otherwise, a device or a service that UPnP would not have."""
    pytest.importorskip("async_upnp_client")
    address = own(number).get(kind, f"{LINK_LOCAL[6]}%{network.link_index(number)}")
    url = f"http://{f'[{address}]' if ':' in address else address}:{PORT}/{UUID}/device.xml"
    printed = network.clients[number].run(sys.executable, "-c", DESCRIBED, url)
    assert printed.split() == [f"uuid:{UUID}", "Lab", "device", "urn:schemas-upnp-org:service:SwitchPower:1"]


def test_the_search_command_as_json(network: Multihomed, ssdp: Child) -> None:
    printed = network.clients[1].run(
        sys.executable, "-m", "responder", "ssdp", "search", "--json", "--mx", "1", "--st", f"uuid:{UUID}"
    )
    rows = json.loads(printed)
    assert {row["address"] for row in rows} == {"10.71.0.1", "fd71::1", "fe80::1"}
    assert {row["usn"] for row in rows} == {f"uuid:{UUID}"}
    assert all(row["interface"] == "link1" and row["address"] in row["location"] for row in rows)


@pytest.mark.parametrize("port", [1900, PORT])
@pytest.mark.parametrize("address", ["10.71.0.2", "fd71::2"])
def test_a_unicast_search_is_answered_from_the_address_that_was_asked(
    network: Multihomed, ssdp: Child, address: str, port: int
) -> None:
    ask(network, 1, address, port)


def ask(network: Multihomed, number: int, address: str, port: int) -> None:
    """A unicast search by that client, and what its answer has to be."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with network.clients[number].socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.sendto(SEARCH, (address, port))
        payload, source = sock.recvfrom(2048)
    assert source[:2] == (address, port)
    assert f"SEARCHPORT.UPNP.ORG: {PORT}\r\n".encode() in payload
    assert address.encode() in payload


def test_a_storm_of_forged_searches_hurts_nobody_else(tmp_path: Path) -> None:
    """Up to 10,000 searches a second from the addresses of one link's prefix; others ask as usual meanwhile.

    Those of that prefix asked before the storm, too: a stranger there shares the lottery of its strangers.
    """
    over = threading.Event()
    with Multihomed() as network, daemon(network.host, config(tmp_path), folder=tmp_path) as child:
        network.clients[1].ip(*(f"addr add 10.71.0.{host}/24 dev link1" for host in HONEST))
        with ThreadPoolExecutor(len(HONEST)) as pool:
            assert all(pool.map(lambda host: finds(network, f"10.71.0.{host}"), HONEST))
        before = memory(child)
        with ThreadPoolExecutor(1) as pool:
            flood = pool.submit(storm, network, over)
            try:
                for host in HONEST:
                    assert finds(network, f"10.71.0.{host}"), "in the network that the storm is forged from"
                    ask(network, 1, "fd71::1", PORT)
                    ask(network, 2, "10.72.0.1", PORT)
            finally:
                over.set()
            assert flood.result() > 1000
        assert memory(child) - before < 16 * 1024, "KiB"
        assert child.stop() == 0, "\n".join(child.said)
    assert child.totals("ssdp")["silent"] > 100
    assert "busy" not in child.totals("ssdp")
    assert "crashed" not in child.totals("ssdp")


HONEST = range(10, 30)
"""The last parts of the addresses of hosts in the network that the storm is forged from."""


def finds(network: Multihomed, address: str) -> bool:
    """A search by the group from that address of the first client, sent up to three times, as control points do."""
    payload = SEARCH.replace(b"\r\n\r\n", b"\r\nMX: 1\r\n\r\n")
    with network.clients[1].socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        sock.settimeout(PATIENCE / 2)
        for _ in range(3):
            sock.sendto(payload, ("239.255.255.250", 1900))
            with contextlib.suppress(TimeoutError):
                return f"LOCATION: http://{own(1)['primary-v4']}:" in sock.recv(2048).decode()
    return False


STORM = 10_000
"""Searches a second, at most."""

BURST = 100
"""Searches after which the storm waits until all of them have been taken, so that the kernel drops none on a full 1900:
who is heard is the plugin's to decide, and not the machine's."""


def storm(network: Multihomed, over: threading.Event) -> int:
    """Send until it is over; how many were sent."""
    search = SEARCH.replace(b"\r\n\r\n", b"\r\nMX: 1\r\n\r\n").replace(b"upnp:rootdevice", b"ssdp:all")
    group = "239.255.255.250"
    packets = [
        ip_packet(source, group, udp(source, 40000 + host, group, 1900, search))
        for host in range(HONEST.stop, 255)
        for source in [f"10.71.0.{host}"]
    ]
    count = 0
    began = time.monotonic()
    with network.clients[1].socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        index = struct.pack("=4s4si", bytes(4), bytes(4), network.link_index(1))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, index)
        while not over.wait(max(0.0, count / STORM - (time.monotonic() - began))):
            for _ in range(BURST):
                sock.sendto(packets[count % len(packets)], (group, 0))
                count += 1
            ask(network, 2, "10.72.0.2", 1900)
    return count


def test_clients_that_hold_connections_do_not_keep_others_from_the_description(
    network: Multihomed, ssdp: Child
) -> None:
    url = f"http://{own(1)['primary-v4']}:{PORT}/{UUID}/device.xml"
    with contextlib.ExitStack() as stack:
        for number in range(200):
            sock = stack.enter_context(network.clients[2].socket(socket.AF_INET, socket.SOCK_STREAM))
            sock.settimeout(PATIENCE)
            sock.connect((own(2)["primary-v4"], PORT))
            sock.sendall([b"", b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"POST / HTTP/1.1\r\n"][number % 3])
        page = network.clients[1].run("curl", "-sSg", "--max-time", "10", url)
    assert f"<UDN>uuid:{UUID}</UDN>" in page


def test_killed_and_started_again_it_has_a_larger_boot_id(tmp_path: Path) -> None:
    boot_ids = []
    with Multihomed() as network:
        for _ in range(2):
            with listener(network, 2) as sock, daemon(network.host, config(tmp_path), folder=tmp_path) as child:
                boot_ids.append(int(next_of(sock, b"ssdp:alive")["BOOTID.UPNP.ORG"]))
                child.signal(signal.SIGKILL)
    assert boot_ids[0] < boot_ids[1]


def test_a_link_that_comes_to_a_host_that_had_none_and_is_renamed(tmp_path: Path) -> None:
    with Lab() as lab:
        host, client = lab.namespace("host"), lab.namespace("client")
        with daemon(host, config(tmp_path), folder=tmp_path) as child:
            lab.link(host, "link1", client, "link1")
            client.ip("addr add 10.71.0.9/24 dev link1", "route add default dev link1")
            with group_socket(client, client.ifindex("link1")) as sock:
                host.ip("addr add 10.71.0.1/24 dev link1")
                first = next_of(sock, b"ssdp:alive")
                host.ip("link set link1 down", "link set link1 name office", "addr flush dev office")
                host.ip("addr add 10.71.0.2/24 dev office", "link set office up")
                while "10.71.0.2" not in (renamed := next_of(sock, b"ssdp:alive"))["LOCATION"]:
                    pass
                assert child.stop() == 0, "\n".join(child.said)
                byebye = next_of(sock, b"ssdp:byebye")
    assert "//10.71.0.1:" in first["LOCATION"]
    assert int(first["BOOTID.UPNP.ORG"]) < int(renamed["BOOTID.UPNP.ORG"]) <= int(byebye["BOOTID.UPNP.ORG"])


def test_alive_and_byebye_are_heard_and_the_boot_id_grows(tmp_path: Path) -> None:
    with Multihomed() as network:
        heard = [life(network, tmp_path) for _ in range(2)]
    for alive, byebye in heard:
        assert alive["LOCATION"].startswith(f"http://10.72.0.1:{PORT}/")
        assert alive["BOOTID.UPNP.ORG"] == byebye["BOOTID.UPNP.ORG"]
    first, second = (int(alive["BOOTID.UPNP.ORG"]) for alive, _ in heard)
    assert first < second


def life(network: Multihomed, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The first alive and the first byebye of a daemon that is started and stopped."""
    with listener(network, 2) as sock:
        with daemon(network.host, config(folder), folder=folder) as child:
            alive = next_of(sock, b"ssdp:alive")
        assert child.status == 0, "\n".join(child.said)
        return alive, next_of(sock, b"ssdp:byebye")


def listener(network: Multihomed, number: int) -> socket.socket:
    return group_socket(network.clients[number], network.link_index(number))


def group_socket(client: Namespace, index: int) -> socket.socket:
    """A socket of that client that hears the IPv4 group on the interface of that index."""
    sock = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("239.255.255.250", 1900))
    membership = socket.inet_aton("239.255.255.250") + bytes(4) + index.to_bytes(4, sys.byteorder)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    sock.settimeout(BOUND)
    return sock


def next_of(sock: socket.socket, kind: bytes) -> dict[str, str]:
    """The headers of the next announcement of that kind."""
    while True:
        payload = sock.recv(4096)
        if b"NTS: " + kind in payload:
            lines = payload.decode().split("\r\n")[1:]
            return dict(line.split(": ", 1) for line in lines if ": " in line)

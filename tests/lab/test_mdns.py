"""Real clients on each link find the host and its service there, with that link's addresses and never the other's.

Avahi (a daemon and a bus of its own in each client's namespace), python-zeroconf, mdns-scan, nmap, our own commands.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from responder_plugins.shared import dns_message as dns

from . import resolved as systemd
from .avahi import NAMES, avahi
from .changing import memory
from .daemon import BOUND, Child, daemon
from .multihomed import CLIENT_LINK_LOCAL, LINK_LOCAL, Multihomed, own
from .operating import descriptors
from .test_hostile import ip_packet, udp

pytestmark = [pytest.mark.lab, pytest.mark.clients(*NAMES, "mdns-scan", "nmap")]

GROUP = "224.0.0.251"
INSTANCE = "Lab page._http._tcp.local"
RESPONDERD = str(Path(sys.executable).with_name("responderd"))
IP_RECVTTL = 12  # ip(7); the socket module has no such name

ZEROCONF = Path(__file__).with_name("zeroconf_client.py")


def config(folder: Path, *, daemon_keys: str = "") -> Path:
    file = folder / "mdns.toml"
    file.write_text(f"""
        [daemon]
        state = "{folder / "state"}"
        {daemon_keys}
        [plugins.mdns]
        host = "lab"
        [[plugins.mdns.services]]
        name = "Lab page"
        type = "_http._tcp"
        port = 8080
        txt = {{ path = "/" }}
        subtypes = ["_printer"]
    """)
    return file


@pytest.fixture(scope="module")
def mdns(network: Multihomed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder = tmp_path_factory.mktemp("mdns")
    with daemon(network.host, config(folder), folder=folder) as child:
        established(network, 1)
        established(network, 2)
        yield child
    assert child.status == 0, "\n".join(child.said)
    assert child.totals("mdns").keys() <= {"sent", "answered", "passed", "own-source", "off-link"}


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[tuple[Multihomed, Child]]:
    """A network and a daemon of the test's own: what another program on the host took from it stays so for a while.

    It has announced all that it has, twice: a program that starts on the host meanwhile takes that for a conflict.
    """
    with (
        Multihomed() as network,
        group_socket(network, 1) as first,
        group_socket(network, 2) as second,
        daemon(network.host, config(tmp_path), folder=tmp_path) as child,
    ):
        announced(first)
        announced(second)
        established(network, 1)
        established(network, 2)
        yield network, child


def addresses(number: int) -> set[str]:
    return {*own(number).values(), *LINK_LOCAL.values()}


def queried(name: str, rdtype: int, *, ident: int = 0) -> bytes:
    question = dns.to_name(label.encode() for label in name.split(".")) + dns.QUESTION.pack(rdtype, dns.IN)
    return dns.HEADER.pack(ident, 0, 1, 0, 0, 0) + question


def group_socket(network: Multihomed, number: int, port: int = 5353) -> socket.socket:
    """A client's socket that hears and asks the IPv4 group on its link."""
    client, index = network.clients[number], network.link_index(number)
    sock = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", port))
    member = socket.inet_aton(GROUP) + bytes(4) + index.to_bytes(4, sys.byteorder)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + index.to_bytes(4, sys.byteorder))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    sock.settimeout(BOUND)
    return sock


def established(network: Multihomed, number: int) -> None:
    """Return once the host's name is announced on a link; what is established needs no waiting."""
    with group_socket(network, number) as sock:
        sock.sendto(queried("lab.local", dns.A), (GROUP, 5353))
        while not answers_of(sock.recv(9000), "lab.local"):
            pass


def announced(sock: socket.socket) -> None:
    """Return once the host and its service are announced for the second time (RFC 6762 section 8.3).

    No answer to a question of these tests has both.
    """
    for _ in range(2):
        payload = sock.recv(9000)
        while not answers_of(payload, INSTANCE.lower()) or not answers_of(payload, "lab.local"):
            payload = sock.recv(9000)


def answers_of(payload: bytes, name: str) -> list[dns.Record]:
    message = dns.read(payload)
    wanted = dns.to_name(label.encode() for label in name.split("."))
    records = [*message.answers, *message.additionals]
    return [each for each in records if message.flags & dns.QR and each.name.lower() == wanted]


@pytest.mark.parametrize("number", [1, 2])
def test_avahi(number: int, network: Multihomed, mdns: Child, tmp_path: Path) -> None:
    with avahi(network.clients[number], tmp_path, host=f"client{number}") as client:
        found = client.run("avahi-browse", "-rpt", "_http._tcp").splitlines()
        for family in ("IPv4", "IPv6"):
            (line,) = [each for each in found if each.startswith("=") and f";{family};" in each]
            _, interface, _, name, _, domain, host, address, port, txt = line.split(";")
            assert (interface, name, domain, host) == (f"link{number}", r"Lab\032page", "local", "lab.local")
            assert (port, txt) == ("8080", '"path=/"')
            assert address in addresses(number)
        subtype = client.run("avahi-browse", "-pt", "_printer._sub._http._tcp")
        assert "Lab" in subtype
        for version, option in ((4, "-4"), (6, "-6")):
            name, address = client.run("avahi-resolve", option, "-n", "lab.local").split()
            assert name == "lab.local"
            assert ip_address(address).version == version
            assert address in addresses(number)
        for address in (own(number)["secondary-v4"], own(number)["primary-v6"]):
            assert client.run("avahi-resolve", "-a", address).split() == [address, "lab.local"]
        other = own(3 - number)["primary-v4"]
        assert "lab.local" not in client.run("avahi-resolve", "-a", other)


needs_resolved = pytest.mark.skipif(
    systemd.DAEMON is None or systemd.CLIENT is None, reason="systemd-resolved is not there (see tests/lab/resolved.py)"
)


@needs_resolved
@pytest.mark.parametrize("number", [1, 2])
def test_systemd_resolved(number: int, network: Multihomed, mdns: Child, tmp_path: Path) -> None:
    with systemd.resolved(network.clients[number], tmp_path / "resolved", f"link{number}") as service:
        for version, option in ((4, "-4"), (6, "-6")):
            said = service.run("resolvectl", option, "--legend=no", "query", "lab.local")
            found = {word.partition("%")[0] for word in said.split() if "." in word or "::" in word} - {"lab.local:"}
            assert found == {each for each in addresses(number) if ip_address(each).version == version}, said
        assert "lab.local:8080" in service.run("resolvectl", "service", "Lab page", "_http._tcp", "local")
        assert "lab.local" in service.run("resolvectl", "query", own(number)["secondary-v4"])
        assert r"Lab\032page" in service.run("resolvectl", "query", "--type=PTR", "_http._tcp.local")


@needs_resolved
def test_systemd_resolved_on_the_same_host_keeps_working_and_so_do_we(
    apart: tuple[Multihomed, Child], tmp_path: Path
) -> None:
    network, child = apart
    client = network.clients[1]
    with systemd.resolved(network.host, tmp_path / "beside", "link1", "link2") as service:
        with avahi(client, tmp_path / "client", host="client1") as asking:
            assert asking.run("avahi-resolve", "-4", "-n", "lab.local").split()[1] in addresses(1)
            assert "10.71.0.9" in service.run("resolvectl", "-4", "query", "client1.local")
        (found,) = json.loads(client.run(RESPONDERD, "mdns", "resolve", "lab.local", "--json"))
        assert own(1)["primary-v4"] in found["addresses"]
    assert "is taken" not in "\n".join(child.said)


@pytest.mark.parametrize("number", [1, 2])
def test_python_zeroconf(number: int, network: Multihomed, mdns: Child) -> None:
    found = json.loads(network.clients[number].run(sys.executable, str(ZEROCONF), "lab.local.", f"{INSTANCE}."))
    assert found["found"] == [f"{INSTANCE}."]
    assert (found["server"], found["port"], found["txt"]) == ("lab.local.", 8080, {"path": "/"})
    assert set(found["addresses"]) == addresses(number)


@pytest.mark.parametrize("number", [1, 2])
def test_mdns_scan(number: int, network: Multihomed, mdns: Child) -> None:
    said = network.clients[number].run("sh", "-c", "timeout 5 mdns-scan 2>&1 || true")
    assert f"+ {INSTANCE}" in said


@pytest.mark.parametrize("number", [1, 2])
def test_nmap(number: int, network: Multihomed, mdns: Child) -> None:
    address = own(number)["primary-v4"]
    said = network.clients[number].run("nmap", "-n", "-sU", "-p5353", "--script", "dns-service-discovery", address)
    assert "8080/tcp http" in said
    (line,) = [each for each in said.splitlines() if "Address=" in each]
    assert set(line.partition("Address=")[2].split()) <= addresses(number)


@pytest.mark.parametrize("number", [1, 2])
def test_our_own_commands(number: int, network: Multihomed, mdns: Child) -> None:
    client, scoped = network.clients[number], f"{LINK_LOCAL[6]}%link{number}"
    wanted = addresses(number) - {LINK_LOCAL[6]} | {scoped}
    (found,) = json.loads(client.run(RESPONDERD, "mdns", "browse", "--json"))
    assert (found["name"], found["type"], found["host"], found["port"]) == ("Lab page", "_http._tcp", "lab.local", 8080)
    assert (found["interface"], found["txt"], set(found["addresses"])) == (f"link{number}", ["path=/"], wanted)
    (found,) = json.loads(client.run(RESPONDERD, "mdns", "resolve", "lab.local", "--json"))
    assert set(found["addresses"]) == wanted
    (found,) = json.loads(client.run(RESPONDERD, "mdns", "resolve", INSTANCE, "--json"))
    assert (found["name"], found["host"], found["port"]) == ("Lab page", "lab.local", 8080)
    (found,) = json.loads(client.run(RESPONDERD, "mdns", "resolve", own(number)["primary-v6"], "--json"))
    assert found["name"] == "lab.local"


def test_published_from_the_command_line_until_interrupted(network: Multihomed, mdns: Child) -> None:
    argv = ["mdns", "publish", "From the shell", "_ipp._tcp", "631", "rp=print", "--host", "shell", "--json"]
    process = subprocess.Popen(network.clients[1].argv(RESPONDERD, *argv), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {
            "interface": "link1",
            "name": "From the shell",
            "host": "shell.local",
        }
        (found,) = json.loads(network.host.run(RESPONDERD, "mdns", "browse", "_ipp._tcp", "--json"))
        assert (found["interface"], found["host"], found["port"], found["txt"]) == (
            "link1",
            "shell.local",
            631,
            ["rp=print"],
        )
        assert set(found["addresses"]) >= {"10.71.0.9", "fd71::9"}
        with group_socket(network, 2), group_socket_of_host(network) as sock:
            process.send_signal(signal.SIGINT)
            while not any(record.ttl == 0 for record in answers_of(sock.recv(9000), "shell.local")):
                pass
        assert process.wait(BOUND) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_the_example_program_is_found_while_it_runs(network: Multihomed, mdns: Child) -> None:
    program = Path(__file__).parents[2] / "examples" / "mdns" / "program.py"
    process = subprocess.Popen(
        network.clients[1].argv(sys.executable, str(program)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        name, _, port = process.stdout.readline().strip().partition(": port ")
        found = json.loads(network.host.run(RESPONDERD, "mdns", "browse", "_http._tcp", "--json"))
        (page,) = [each for each in found if each["interface"] == "link1" and each["name"] == name]
        assert (page["port"], page["txt"]) == (int(port), ["path=/"])
        assert CLIENT_LINK_LOCAL[4] in page["addresses"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(BOUND)
        assert process.stdout is not None
        process.stdout.close()


def group_socket_of_host(network: Multihomed) -> socket.socket:
    """A socket on the host that hears what comes by link 1."""
    sock = network.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((GROUP, 5353))
    index = network.host.ifindex("link1")
    member = socket.inet_aton(GROUP) + bytes(4) + index.to_bytes(4, sys.byteorder)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    sock.settimeout(BOUND)
    return sock


@pytest.mark.parametrize("name", ["beside", "lab"])
def test_avahi_on_the_same_host_keeps_working_and_so_do_we(
    name: str, apart: tuple[Multihomed, Child], tmp_path: Path
) -> None:
    network, child = apart
    with (
        avahi(network.host, tmp_path / "host", host=name) as beside,
        avahi(network.clients[1], tmp_path / "client", host="client1") as client,
    ):
        for each in {name, "lab"}:
            assert client.run("avahi-resolve", "-4", "-n", f"{each}.local").split()[1] in addresses(1)
            (found,) = json.loads(network.clients[1].run(RESPONDERD, "mdns", "resolve", f"{each}.local", "--json"))
            assert own(1)["primary-v4"] in found["addresses"]
        assert "Lab" in client.run("avahi-browse", "-pt", "_http._tcp")
        assert "onflict" not in beside.log
    assert "is taken" not in "\n".join(child.said)


def test_an_answer_comes_from_port_5353_with_the_hop_limit_255(network: Multihomed, mdns: Child) -> None:
    with group_socket(network, 1, port=0) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        sock.sendto(queried("lab.local", dns.A, ident=7), (GROUP, 5353))
        payload, ancillary, _, source = sock.recvmsg(9000, 64)
    assert dns.read(payload).ident == 7
    assert source == (own(1)["primary-v4"], 5353)
    assert [struct.unpack("=i", data) for *_, data in ancillary] == [(255,)]


STORM = 10_000  # queries a second
LONG = 30_000  # queries of a storm, at least
ANSWERS = 20  # that the other link gets meanwhile


def storm(network: Multihomed, sent: list[int], over: threading.Event) -> None:
    """Queries from all of a /24, many kinds of them, until it is over; `sent` tells how many."""
    tc = bytearray(queried("_http._tcp.local", dns.PTR))
    tc[2] |= 2
    qu = queried("_services._dns-sd._udp.local", dns.PTR)[:-2] + (0x8001).to_bytes(2)
    kinds = [bytes(tc), qu, queried("lab.local", dns.ANY), queried("nobody.local", dns.A)]
    packets = [
        ip_packet(source, GROUP, udp(source, 5353, GROUP, 5353, kinds[host % len(kinds)]))
        for host in range(10, 255)
        for source in [f"10.71.0.{host}"]
    ]
    began = time.monotonic()
    index = struct.pack("=4s4si", bytes(4), bytes(4), network.link_index(1))
    with network.clients[1].socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, index)
        while not over.wait(0.001):
            for _ in range(int((time.monotonic() - began) * STORM) - sent[0]):
                sock.sendto(packets[sent[0] % len(packets)], (GROUP, 0))
                sent[0] += 1


def test_a_storm_on_one_link_costs_neither_memory_nor_the_other_link_s_answers(
    network: Multihomed, mdns: Child
) -> None:
    sent, over = [0], threading.Event()
    thread = threading.Thread(target=storm, args=(network, sent, over))
    before, files = memory(mdns), descriptors(mdns)
    asked = answered = 0
    thread.start()
    try:
        with group_socket(network, 2, port=0) as sock:
            sock.settimeout(0.2)
            give_up = time.monotonic() + BOUND
            while answered < ANSWERS or sent[0] < LONG:
                assert time.monotonic() < give_up, f"{answered} answers, {sent[0]} queries of the storm"
                asked += 1
                sock.sendto(queried("lab.local", dns.A, ident=asked & 0xFFFF), (GROUP, 5353))
                # The socket's queue, which all links share, may be full: a client asks again.
                with contextlib.suppress(TimeoutError):
                    answered += bool(answers_of(sock.recv(9000), "lab.local"))
    finally:
        over.set()
        thread.join()
    assert memory(mdns) < before + 8 * 1024
    assert descriptors(mdns) == files

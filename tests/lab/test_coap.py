"""coap with the clients that people have, on a host with two links: each address answers for itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.coap.support import ACK, CON, CONTENT, NON, empty, get, read

from .daemon import BOUND, Child, daemon
from .multihomed import GROUP_V4, GROUP_V6, LINK_LOCAL, SERVICE, Multihomed, Way, all_ways, own, unicast_ways

pytestmark = [pytest.mark.lab]

CLIENT = Path(__file__).with_name("coap_client.py")

PORT = 5683

FILE = "".join(f"line {number}\n" for number in range(500))

CONFIG = f"""
[plugins.coap]
groups = ["224.0.1.187", "ff02::fd", "ff05::fd", "{GROUP_V4}", "{GROUP_V6}"]
leisure = "20ms"

[plugins.coap.resources]
"/hello" = "hello.txt"
"/about" = {{ text = "a lab", content_format = 0, rt = "example" }}
"/large" = {{ file = "large.txt", title = "More than one block of text, and a title that makes the links as long" }}
"""

ADDRESSES = [own(1)["secondary-v4"], own(2)["secondary-v4"], own(1)["secondary-v6"], SERVICE[4], SERVICE[6]]
"""None of them is what a routing table would answer from."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coap")
    (folder / "hello.txt").write_text("hello")
    (folder / "large.txt").write_text(FILE)
    (folder / "responderd.toml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module", autouse=True)
def served(network: Multihomed, folder: Path) -> Iterator[Child]:
    with daemon(network.host, folder / "responderd.toml", folder=folder) as child:
        yield child
    assert child.status == 0, "\n".join(child.said)


def write(file: Path, text: str) -> None:
    """Whole or not at all: who reads it meanwhile sees the old text or the new one."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


def run(network: Multihomed, *argv: str) -> str:
    """What a program of client 1 prints."""
    done = subprocess.run(network.clients[1].argv(*argv), capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def uri(address: str, path: str) -> str:
    return f"coap://{f'[{address}]' if ':' in address else address}{path}"


@pytest.mark.parametrize("way", all_ways(), ids=str)
def test_the_answer_comes_from_where_was_asked(network: Multihomed, way: Way) -> None:
    payload, source = network.exchange(way, get("/about", kind=NON), PORT)
    assert network.verdict_on_source(way, source, PORT) == ""
    answer = read(payload)
    assert (answer.kind, answer.code, answer.payload) == (NON, CONTENT, b"a lab")


@pytest.mark.parametrize(
    ("group", "expected", "source"),
    [
        ("224.0.1.187", "10.71.0.1", ""),
        ("ff02::fd", "fe80::1", ""),
        ("ff02::fd", "fd71::1", "fd71::9"),
        ("ff05::fd", "fd71::1", "fd71::9"),
    ],
)
def test_groups(network: Multihomed, group: str, expected: str, source: str) -> None:
    way = Way(1, "group", group, frozenset([expected]), source)
    payload, from_ = network.exchange(way, get("/.well-known/core?rt=exam*", kind=NON), PORT)
    assert network.verdict_on_source(way, from_, PORT) == ""
    assert read(payload).payload == b'</about>;rt="example";ct=0'


def test_notifications_come_from_where_was_asked(network: Multihomed, folder: Path) -> None:
    """All at once, since a change is told within two seconds."""
    ways = unicast_ways()
    sockets = {way: network.client_socket(way) for way in ways}
    write(folder / "hello.txt", "before")
    for way, sock in sockets.items():
        sock.sendto(get("/hello", 1, (6, b""), token=b"seen"), network.address_of(way, PORT))
        answer = read(sock.recvfrom(65535)[0])
        assert (answer.kind, answer.payload) == (ACK, b"before")
        assert answer.option(6) is not None, str(way)
    write(folder / "hello.txt", "after")
    for way, sock in sockets.items():
        payload, source = sock.recvfrom(65535)
        assert network.verdict_on_source(way, source, PORT) == "", str(way)
        told = read(payload)
        assert (told.kind, told.token, told.payload) == (CON, b"seen", b"after"), str(way)
        sock.sendto(empty(ACK, told.message_id), network.address_of(way, PORT))
        sock.sendto(get("/hello", 2, (6, b"\1"), token=b"seen"), network.address_of(way, PORT))
        assert read(sock.recvfrom(65535)[0]).kind == ACK
        sock.close()


@pytest.mark.clients("coap-client-notls")
class TestLibcoap:
    def test_get(self, network: Multihomed) -> None:
        for address in [*ADDRESSES, f"{LINK_LOCAL[6]}%link1"]:
            for kind in ([], ["-N"]):
                printed = run(network, "coap-client-notls", *kind, "-B", "5", uri(address, "/about"))
                assert printed.strip() == "a lab", address

    def test_blocks(self, network: Multihomed, tmp_path: Path) -> None:
        for number, address in enumerate(ADDRESSES):
            size = ["-b", str(32 << number)]
            target = tmp_path / str(number)
            printed = run(network, "coap-client-notls", *size, "-B", "30", "-o", str(target), uri(address, "/large"))
            assert target.read_text() == FILE, printed

    def test_links_and_refusals(self, network: Multihomed) -> None:
        address = ADDRESSES[0]
        printed = run(network, "coap-client-notls", "-B", "5", uri(address, "/.well-known/core?rt=example"))
        assert printed.strip() == '</about>;rt="example";ct=0'
        assert "4.04" in run(network, "coap-client-notls", "-B", "5", uri(address, "/missing"))
        put = ("-m", "put", "-e", "x")
        assert "4.05" in run(network, "coap-client-notls", "-B", "5", *put, uri(address, "/about"))
        assert "4.06" in run(network, "coap-client-notls", "-B", "5", "-A", "50", uri(address, "/about"))
        assert "5.05" in run(
            network, "coap-client-notls", "-B", "5", "-P", uri(address, ""), "coap://example.com/about"
        )

    @pytest.mark.parametrize("group", ["224.0.1.187", "ff02::fd%link1", "ff05::fd"])
    def test_groups(self, network: Multihomed, group: str) -> None:
        printed = run(network, "coap-client-notls", "-N", "-B", "2", uri(group, "/.well-known/core?rt=example"))
        assert printed.strip() == '</about>;rt="example";ct=0'

    def test_observing(self, network: Multihomed, folder: Path) -> None:
        """From an address that is not what the routing table would choose: it takes no notification from another."""
        write(folder / "hello.txt", "one\n")
        command = network.clients[1].argv("coap-client-notls", "-s", "60", "-B", "90", uri(ADDRESSES[1], "/hello"))
        with subprocess.Popen(["stdbuf", "-oL", *command], stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            heard = [client.stdout.readline()]
            for text in ("two\n", "three\n"):
                write(folder / "hello.txt", text)
                heard.append(client.stdout.readline())
            client.terminate()
        assert heard == ["one\n", "two\n", "three\n"]


def test_aiocoap(network: Multihomed, folder: Path) -> None:
    write(folder / "hello.txt", "one")
    address = own(2)["secondary-v6"]
    uris = [uri(each, path) for each in ADDRESSES for path in ("/about", "/large")] + [uri(address, "/hello")]
    command = network.clients[1].argv(sys.executable, str(CLIENT), *uris)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        heard = [json.loads(client.stdout.readline()) for _ in uris]
        write(folder / "hello.txt", "two")
        told, _ = client.communicate("\n", timeout=BOUND)
    assert {code for code, _ in heard} == {"2.05 Content"}
    assert [text for _, text in heard] == ["a lab", FILE] * len(ADDRESSES) + ["one"]
    assert json.loads(told) == ["2.05 Content", "two"]


@pytest.mark.parametrize(
    ("group", "source"),
    [("224.0.1.187", "10.71.0.1"), ("ff02::fd%link1", "[fe80::1%link1]"), ("ff05::fd", "[fd71::1]")],
)
def test_aiocoap_by_groups(network: Multihomed, group: str, source: str) -> None:
    printed = run(network, sys.executable, str(CLIENT), "--group", uri(group, "/.well-known/core?rt=example"))
    assert json.loads(printed.splitlines()[0]) == ["2.05 Content", '</about>;rt="example";ct=0', source]


@pytest.mark.clients("nmap")
def test_nmap(network: Multihomed) -> None:
    """Its script reads the links, which are more than a block, from the address that it asks."""
    for address in ADDRESSES:
        family = ["-6"] if ":" in address else []
        printed = run(network, "nmap", *family, "-n", "-Pn", "-sU", "-p", "5683", "--script", "coap-resources", address)
        assert re.findall(r"/\w+(?=:)", printed) == ["/about", "/hello", "/large"], printed
        assert "rt: example" in printed

"""tftp with the clients that people have, on a host with two links: each address answers for itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.tftp.support import ack, content, options_of, request

from .daemon import Child, daemon
from .multihomed import LINK_LOCAL, SERVICE, Multihomed, Way, group_ways, own, unicast_ways

pytestmark = [pytest.mark.lab]

FILE = content(200_000)

ADDRESSES = [own(1)["secondary-v4"], own(2)["secondary-v4"], own(2)["secondary-v6"], SERVICE[4], SERVICE[6]]
"""None of them is what a routing table would answer from."""

CONFIG = """
[plugins.tftp]
root = "boot"
"""


@pytest.fixture(scope="module", autouse=True)
def served(network: Multihomed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder = tmp_path_factory.mktemp("tftp")
    (folder / "boot").mkdir()
    (folder / "boot" / "file").write_bytes(FILE)
    (folder / "secret").write_bytes(b"secret")
    file = folder / "responderd.toml"
    file.write_text(CONFIG)
    with daemon(network.host, file, folder=folder) as child:
        yield child
    assert child.status == 0, "\n".join(child.said)


def run(network: Multihomed, *argv: str, folder: Path) -> str:
    """What a program of client 1 prints, with `folder` as its working folder."""
    done = subprocess.run(
        network.clients[1].argv(*argv), capture_output=True, text=True, check=False, timeout=60, cwd=folder
    )
    return done.stdout + done.stderr


def in_brackets(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@pytest.mark.parametrize("way", unicast_ways(), ids=str)
def test_a_transfer_comes_from_where_was_asked(network: Multihomed, way: Way) -> None:
    with network.client_socket(way) as sock:
        sock.sendto(request(blksize=1024), network.address_of(way, 69))
        payload, source = sock.recvfrom(65535)
        assert network.verdict_on_source(way, source, source[1]) == ""
        assert source[1] != 69, "from a port of its own (RFC 1350 section 4)"
        assert options_of(payload) == {"blksize": "1024"}
        sock.sendto(ack(0), source)
        payload, again = sock.recvfrom(65535)
        assert (payload, again) == (b"\0\3\0\1" + FILE[:1024], source)
        sock.sendto(b"\0\5\0\0enough\0", source)


def test_a_request_to_everybody_gets_silence(network: Multihomed) -> None:
    """RFC 1123 section 4.2.3.5.  The answer to an own request shows that it would have come by then."""
    for way in group_ways():
        if "broadcast" not in way.kind or way.source:
            continue
        with network.client_socket(way) as sock:
            sock.sendto(request("a"), network.address_of(way, 69))
            sock.sendto(request("b"), (own(way.client)["primary-v4"], 69))
            payload, source = sock.recvfrom(65535)
            assert (payload[:4], source[0]) == (b"\0\5\0\1", own(way.client)["primary-v4"])


@pytest.mark.clients("curl")
def test_curl(network: Multihomed, tmp_path: Path) -> None:
    scoped = f"{LINK_LOCAL[6]}%25link1"
    for number, address in enumerate([*ADDRESSES, scoped]):
        for options in ([], ["--tftp-no-options"], ["--tftp-blksize", "1428"]):
            options = ["-g", "-s", "-S", "-m", "30", *options]  # noqa: PLW2901 - the same, and how to speak
            target = tmp_path / f"{number}-{len(options)}"
            url = f"tftp://{in_brackets(address)}/file"
            printed = run(network, "curl", *options, "-o", str(target), url, folder=tmp_path)
            assert target.read_bytes() == FILE, printed
    outside = f"tftp://{ADDRESSES[0]}/../secret"
    assert "(69)" in run(network, "curl", "-s", "-S", "--path-as-is", outside, folder=tmp_path), "access violation"


@pytest.mark.clients("tftp")
def test_tftp_hpa(network: Multihomed, tmp_path: Path) -> None:
    for number, address in enumerate(ADDRESSES):
        printed = run(network, "tftp", "-m", "binary", address, "-c", "get", "file", str(number), folder=tmp_path)
        assert (tmp_path / str(number)).read_bytes() == FILE, printed
    printed = run(network, "tftp", ADDRESSES[0], "-c", "get", "missing", folder=tmp_path)
    assert "no such file" in printed
    (tmp_path / "new").write_bytes(b"x")
    assert "read only" in run(network, "tftp", ADDRESSES[0], "-c", "put", "new", folder=tmp_path)


@pytest.mark.clients("atftp")
def test_atftp(network: Multihomed, tmp_path: Path) -> None:
    options = [["blksize 1428"], ["tsize 1", "timeout 3"], ["windowsize 16", "blksize 512"]]
    for number, address in enumerate(ADDRESSES):
        chosen = [part for option in options[number % 3] for part in ("--option", option)]
        argv = ("atftp", *chosen, "-g", "-r", "file", "-l", str(number), address)
        printed = run(network, *argv, folder=tmp_path)
        assert (tmp_path / str(number)).read_bytes() == FILE, printed

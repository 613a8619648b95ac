"""tftp over a link that loses one packet in 50 in each direction, and lets one in 50 be overtaken.

A longer file, by hand: RESPONDER_TEST_MEGABYTES=64 pytest tests/lab/test_tftp_loss.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.tftp.support import content

from .daemon import Child, daemon
from .namespaces import Lab, Namespace
from .reordering import EVERY, without_offload

pytestmark = [pytest.mark.lab, pytest.mark.clients("nft")]

SERVER, CLIENT = "10.71.0.1", "10.71.0.9"
ROOT = Path(__file__).parents[2]

MEGABYTES = float(os.environ.get("RESPONDER_TEST_MEGABYTES", "0.15"))
SECONDS_A_MEGABYTE = 120
"""A client may take, which waits for each block that is lost."""

FILE = content(int(MEGABYTES * 1_000_000))

LOSS = f"""
table inet lab
delete table inet lab
table inet lab {{
    chain in {{
        type filter hook input priority 0
        meta l4proto udp numgen inc mod {EVERY} 7 drop
    }}
}}
"""
"""Of what comes in: a sender is told of what is dropped as it leaves.  The first to be lost is the eighth: atftp gives
up where the acknowledgment of its options is lost, so that they come again."""


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Namespace, Namespace]]:
    """The daemon's end of the wire, and the clients'."""
    folder = tmp_path_factory.mktemp("tftp")
    (folder / "boot").mkdir()
    (folder / "boot" / "file").write_bytes(FILE)
    config = folder / "responderd.toml"
    config.write_text('[plugins.tftp]\nroot = "boot"\n')
    with Lab() as lab:
        host, wire, client = (lab.namespace(name) for name in ("host", "wire", "client"))
        for end, name, address in ((host, "server", SERVER), (client, "client", CLIENT)):
            lab.link(end, "link1", wire, name)
            end.ip(f"addr add {address}/24 dev link1")
            end.call(lambda: without_offload("link1"))
        argv = [sys.executable, "-m", "tests.lab.reordering", "server", "client"]
        with Child(wire, argv, cwd=ROOT), daemon(host, config, folder=folder) as child:
            yield host, client
        assert child.status == 0, "\n".join(child.said)


@pytest.fixture
def client(ends: tuple[Namespace, Namespace]) -> Namespace:
    """The clients' end, on a link that counts from its first packet on."""
    for end in ends:
        end.run("nft", LOSS)
    return ends[1]


def fetched(client: Namespace, target: Path, *argv: str) -> bool:
    """Does the program get the file?"""
    done = subprocess.run(
        client.argv(*argv),
        cwd=target.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60 + MEGABYTES * SECONDS_A_MEGABYTE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target.read_bytes() == FILE


@pytest.mark.clients("curl")
def test_curl(client: Namespace, tmp_path: Path) -> None:
    """Where it asks for a block size it asks for 6 s as well, until a block comes again."""
    options = ["--tftp-no-options"] if MEGABYTES < 1 else ["--tftp-blksize", "65464"]
    assert fetched(client, tmp_path / "got", "curl", "-s", "-S", *options, "-o", "got", f"tftp://{SERVER}/file")


@pytest.mark.clients("tftp")
def test_tftp_hpa(client: Namespace, tmp_path: Path) -> None:
    assert fetched(client, tmp_path / "got", "tftp", "-m", "binary", SERVER, "-c", "get", "file", "got")


@pytest.mark.clients("atftp")
@pytest.mark.parametrize("window", ["1", "16", "64"])
def test_atftp(client: Namespace, tmp_path: Path, window: str) -> None:
    options = ["--option", "blksize 1428", "--option", f"windowsize {window}"]
    assert fetched(client, tmp_path / "got", "atftp", *options, "-g", "-r", "file", "-l", "got", SERVER)

"""dig from another namespace against the embedded default, unprivileged: an answer from every address of the host.

dig itself refuses an answer from another address than it asked ("reply from unexpected source").
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .daemon import UNPRIVILEGED, Child, daemon
from .multihomed import Multihomed, Way, unicast_ways

pytestmark = [pytest.mark.lab, pytest.mark.clients("dig")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("default")


@pytest.fixture(scope="module", autouse=True)
def embedded_default(network: Multihomed, folder: Path) -> Iterator[Child]:
    with daemon(network.host, None, folder=folder, under=UNPRIVILEGED) as child:
        yield child
    assert child.status == 0, "\n".join(child.said)
    assert list(folder.iterdir()) == [], "the embedded default writes no file"


def dig(network: Multihomed, way: Way, *question: str) -> list[str]:
    """The lines of dig's short answer; one try, so that a lost answer is not made good by the next."""
    server = way.destination + (f"%link{way.client}" if way.destination.startswith("fe80") else "")
    options = ("+short", "+tries=1", "+timeout=5")
    return network.clients[way.client].run("dig", f"@{server}", "-p", "5300", *question, *options).splitlines()


# Linux answers a SYN by routing, whatever interface it came in by: where two links have the same prefix, a handshake
# works on the first one only, before any server hears of it.  (IPv6 link-local addresses have a scope, so they do.)
NO_HANDSHAKE = "client2-link-local-v4"


@pytest.mark.parametrize(
    ("way", "transport"),
    [(way, "udp") for way in unicast_ways()] + [(way, "tcp") for way in unicast_ways() if str(way) != NO_HANDSHAKE],
    ids=str,
)
def test_every_address_answers(network: Multihomed, way: Way, transport: str) -> None:
    same, other = ("A", "AAAA") if "." in way.destination else ("AAAA", "A")
    tcp = "+tcp" if transport == "tcp" else "+notcp"
    assert dig(network, way, "whoami.test", same, tcp) == [way.destination]
    assert dig(network, way, "whoami.test", other, tcp) == []
    (texts,) = dig(network, way, "whoami.test", "TXT", tcp)
    assert f'"interface=link{way.client}" "peer=' in texts
    assert texts.endswith('"via=unicast"')

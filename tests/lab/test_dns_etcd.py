"""Zones of etcd, served by the daemon: changed, reloaded, restarted, and served on while etcd says nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.dns.etcd.server import EtcdServer, running

from .daemon import Child, daemon
from .multihomed import Multihomed

pytestmark = [pytest.mark.lab, pytest.mark.clients("etcd", "curl", "dig")]

CONFIG = """
[daemon]
state = "state"

[plugins.dns.etcd]
endpoints = ["{url}"]
path = "/skydns"
zones = ["cluster.test", "2.0.192.in-addr.arpa"]
"""


@pytest.fixture(scope="module")
def etcd(network: Multihomed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with running(tmp_path_factory.mktemp("etcd"), namespace=network.host) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dns")


@pytest.fixture(scope="module")
def server(network: Multihomed, etcd: EtcdServer, folder: Path) -> Iterator[Child]:
    (folder / "dns.toml").write_text(CONFIG.format(url=etcd.url))
    etcd.put({"test/cluster/web/x1": {"host": "192.0.2.1"}, "arpa/in-addr/192/0/2/1": {"host": "web.cluster.test"}})
    with daemon(network.host, folder / "dns.toml", folder=folder) as child:
        child.wait_for("zones of etcd are served")
        yield child
    assert child.status == 0, "\n".join(child.said)


def dig(network: Multihomed, *question: str) -> list[str]:
    return network.clients[1].run("dig", "@10.71.0.2", *question, "+short", "+tries=1", "+timeout=5").splitlines()


def test_names_of_etcd_are_answered(network: Multihomed, server: Child) -> None:
    assert dig(network, "web.cluster.test", "A") == ["192.0.2.1"]
    assert dig(network, "-x", "192.0.2.1") == ["web.cluster.test."]
    assert dig(network, "web.cluster.test", "SRV") == ["10 100 0 x1.web.cluster.test."]


def test_it_is_served_over_a_reload_and_while_etcd_says_nothing(
    network: Multihomed, server: Child, etcd: EtcdServer, folder: Path
) -> None:
    etcd.freeze()
    config = folder / "dns.toml"
    config.write_text(config.read_text() + 'stale = "2h"\n')
    server.signal(signal.SIGHUP)
    server.wait_for("reloaded")
    assert dig(network, "web.cluster.test", "A") == ["192.0.2.1"]
    etcd.thaw()
    etcd.put({"test/cluster/web/x2": {"host": "192.0.2.2"}})
    server.wait_for("zones of etcd change")
    assert dig(network, "web.cluster.test", "A") == ["192.0.2.1", "192.0.2.2"]


def test_it_is_served_after_a_restart_while_etcd_says_nothing(
    network: Multihomed, server: Child, etcd: EtcdServer, folder: Path
) -> None:
    etcd.freeze()
    server.stop()
    with daemon(network.host, folder / "dns.toml", folder=folder):
        assert dig(network, "web.cluster.test", "A") == ["192.0.2.1", "192.0.2.2"]
    etcd.thaw()

"""The daemon on a host whose network changes; the full counts are `tests.lab.changing`'s."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .changing import (
    GROUPS,
    MORE_GROUPS,
    PATIENCE,
    Changing,
    Client,
    changing,
    config,
    joined,
    many_links,
    open_files,
    silent_links,
    usable,
    wait_until,
)
from .daemon import Child, daemon
from .namespaces import Lab, Namespace

pytestmark = pytest.mark.lab


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Changing]:
    with changing(tmp_path) as network:
        yield network


@pytest.mark.parametrize(("cycles", "dad"), [(25, False), (2, True)])
def test_a_link_that_comes_changes_and_goes(network: Changing, cycles: int, dad: bool) -> None:
    """More often than one socket may have memberships (20), so that one that is not left shows."""
    files = open_files(network.child)
    for _ in range(cycles):
        network.cycle(dad=dad)
    network.ask(GROUPS[0], "stays", "10.71.0.1")
    assert open_files(network.child) == files
    assert [link for link, groups in joined(network.host).items() if GROUPS[0] in groups] == ["stays"]


def test_more_links_than_a_socket_may_have_memberships(tmp_path: Path) -> None:
    links, groups = 45, GROUPS + MORE_GROUPS
    with Lab() as lab:
        host, client = many_links(lab, links)
        file = tmp_path / "many.toml"
        file.write_text(config(groups))
        with daemon(host, file, folder=tmp_path) as child, Client(client) as asking:
            # "ready" says that all that can be joined is.
            assert len([link for link, there in joined(host).items() if there.issuperset(groups)]) == links
            assert silent_links(asking, links, groups) == []
            files = open_files(child)
            # Room that is given back is used again.
            for number in range(links):
                host.ip(f"link set link{number} down", f"link set link{number} up")
                host.ip(f"addr add fe80::1/64 dev link{number} nodad")
            for number in range(links):
                assert asking.ask(GROUPS[0], f"link{number}")[0] == f"10.100.{number}.1"
                assert asking.ask(GROUPS[1], f"link{number}")[0] == "fe80::1"
            assert open_files(child) <= files + 1


def test_what_another_program_joined_is_not_answered(tmp_path: Path) -> None:
    """With helper sockets the kernel hands it over all the same: the check of group and interface holds."""
    with Lab() as lab:
        host, client = many_links(lab, 25)
        file = tmp_path / "some.toml"
        file.write_text(config() + 'interfaces = ["!link3"]\n')
        with (
            daemon(host, file, folder=tmp_path) as child,
            Client(client) as asking,
            host.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
        ):
            strange = {"link3": GROUPS[0], "link4": MORE_GROUPS[0]}
            for link, group in strange.items():
                request = struct.pack("=4s4si", socket.inet_aton(group), bytes(4), host.ifindex(link))
                other.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            for link, group in strange.items():
                asking.send(group, client.ifindex(link), b"strange")
            # It stands behind those in the daemon's queue, and is the first to be answered.
            sock = asking.send(GROUPS[0], client.ifindex("link5"), b"own")
            sock.settimeout(PATIENCE)
            assert sock.recv(100) == b"own"
            assert child.stop() == 0
            assert child.totals("echo") == {"answered": 1, "interface": 1, "group": 1}


def test_an_index_and_name_that_another_interface_gets(network: Changing) -> None:
    network.cycle()
    host, client = network.host, network.client.namespace
    for _ in range(3):
        host.ip(f"link add wire index 77 type veth peer name wire netns {client.name}", "link set wire up")
        client.ip("link set wire up", "addr add 10.80.0.9/24 dev wire")
        host.ip("addr add 10.80.0.1/24 dev wire")
        network.ask(GROUPS[0], "wire", "10.80.0.1")
        host.ip("link del wire")


def test_overrun_leads_to_a_full_look(network: Changing) -> None:
    host, client = network.host, network.client.namespace
    network.child.signal(signal.SIGSTOP)
    # More messages than the daemon's notification socket has room for.
    host.ip(*(f"link set stays mtu {1300 + number % 2}" for number in range(4000)))
    host.ip(f"link add wire type veth peer name wire netns {client.name}", "link set wire up")
    host.ip("addr add 10.80.0.1/24 dev wire", "addr del 10.71.0.1/24 dev stays", "addr add 10.71.0.2/24 dev stays")
    client.ip("link set wire up", "addr add 10.80.0.9/24 dev wire")
    drops = [int(line.split()[8]) for line in host.run("cat", "/proc/net/netlink").splitlines()[1:]]
    assert any(drops), "nothing was lost"
    network.child.signal(signal.SIGCONT)
    network.ask(GROUPS[0], "wire", "10.80.0.1")
    network.ask(GROUPS[0], "stays", "10.71.0.2")


@pytest.mark.parametrize(
    ("port", "groups"), [(1900, ["239.255.255.250", "ff02::c"]), (5353, ["224.0.0.251", "ff02::fb"])]
)
def test_two_on_one_port_both_hear_the_groups(port: int, groups: list[str]) -> None:
    with Lab() as lab, contextlib.ExitStack() as stack:
        host, client = many_links(lab, 2)
        for word in ("one", "two"):
            argv = [sys.executable, "-m", "tests.lab.shared_responder", word, str(port), *groups]
            stack.enter_context(Child(host, argv))
        asking = stack.enter_context(Client(client))
        for link in ("link0", "link1"):
            for group in groups:
                sock = asking.send(group, client.ifindex(link), b"who", port)
                sock.settimeout(PATIENCE)
                assert {sock.recv(100) for _ in range(2)} == {b"one", b"two"}


def odd_host(lab: Lab) -> tuple[Namespace, Namespace]:
    """A host with a link of each odd kind, and a client at the other end of all but the tunnel."""
    host, client = lab.namespace("host"), lab.namespace("client")
    for name in ("only4", "only6", "local", "quiet", "off", "bare", "twice"):
        lab.link(host, name, client, name)
        client.ip(f"addr add fe80::9/64 dev {name} nodad")
    for namespace in (host, client):
        namespace.sysctl("net.ipv6.conf.only4.disable_ipv6", "1")
    host.sysctl("net.ipv6.conf.all.accept_dad", "1")
    host.sysctl("net.ipv6.conf.twice.accept_dad", "1")
    host.ip(
        "tuntap add tun0 mode tun",
        "link set tun0 addrgenmode none up multicast on",
        "addr add 10.5.0.1 peer 10.5.0.2/32 dev tun0",
        "addr add 10.1.0.1/24 dev only4",
        "addr add fd02::1/64 dev only6 nodad",
        "addr add fe80::1/64 dev only6 nodad",
        "addr add fe80::1/64 dev local nodad",
        "link set quiet multicast off",
        "addr add 10.3.0.1/24 dev quiet",
        "addr add fe80::1/64 dev quiet nodad",
        "link set off down",
        "addr add 10.4.0.1/24 dev off",
        "addr add fe80::9/64 dev twice",  # the client's
    )
    client.ip("addr add 10.1.0.9/24 dev only4", "addr add fd02::9/64 dev only6 nodad")
    return host, client


def test_odd_interfaces_are_right_or_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "odd.toml"
    file.write_text(config())
    with Lab() as lab:
        host, client = odd_host(lab)
        with daemon(host, file, folder=tmp_path) as child, Client(client) as asking:
            wait_until(lambda: "dadfailed" in host.run("ip", "-6", "addr", "show", "dev", "twice"))
            assert {link: groups.intersection(GROUPS) for link, groups in joined(host).items()} == {
                **{link: set() for link in joined(host)},
                "only4": {GROUPS[0]},
                "only6": {GROUPS[1]},
                "local": {GROUPS[1]},
                "tun0": {GROUPS[0]},
            }
            assert asking.ask(GROUPS[0], "only4")[0] == "10.1.0.1"
            for link in ("only6", "local"):
                assert asking.ask(GROUPS[1], link)[0] == "fe80::1"
            # A usable address beside the duplicate one: it speaks, and the other stays silent.
            host.ip("addr add fe80::2/64 dev twice nodad")
            assert asking.ask(GROUPS[1], "twice")[0] == "fe80::2"
            # And each oddity may end.
            host.ip("link set quiet multicast on", "link set off up", "addr add 10.6.0.1/24 dev bare")
            client.ip(
                *(f"addr add 10.{net}.0.9/24 dev {link}" for net, link in ((3, "quiet"), (4, "off"), (6, "bare")))
            )
            for net, link in ((3, "quiet"), (4, "off"), (6, "bare")):
                assert asking.ask(GROUPS[0], link)[0] == f"10.{net}.0.1"
        assert child.status == 0
        assert not [event for event in child.events if event.get("level") in ("warning", "error")], child.said


def test_a_tentative_address_does_not_speak(network: Changing) -> None:
    host, client = network.host, network.client.namespace
    host.ip(f"link add wire type veth peer name wire netns {client.name}", "link set wire addrgenmode none up")
    client.ip("link set wire addrgenmode none up", "addr add fe80::9/64 dev wire nodad")
    # So that it stays tentative until it is made usable below.
    host.sysctl("net.ipv6.conf.wire.dad_transmits", "600")
    host.ip("addr add fe80::1/64 dev wire")
    network.ask(GROUPS[0], "stays", "10.71.0.1")
    assert GROUPS[1] not in joined(host).get("wire", set())
    host.ip("addr del fe80::1/64 dev wire", "addr add fe80::1/64 dev wire nodad")
    usable(host, "wire", "fe80::1")
    network.ask(GROUPS[1], "wire", "fe80::1")

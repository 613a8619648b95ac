"""A firewall that drops what leaves by one link (nftables): the plugins go on, and the other link is served."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.plugins_for_tests import install_module, with_plugins
from tests.tutorial import plugin_of

from .daemon import BOUND, Child, daemon
from .multihomed import Multihomed

pytestmark = [pytest.mark.lab, pytest.mark.clients("nft")]

GROUPS = {
    **{1900: "239.255.255.250", 3702: "239.255.255.250", 5355: "224.0.0.252", 5353: "224.0.0.251"},
    **{13: "239.255.13.13", 137: ""},
}
"""Ports that are announced to, each with its group; the last one's is the broadcast address."""

CONFIG = """
[daemon]
state = "{state}"

[plugins.ssdp]
[[plugins.ssdp.devices]]
uuid = "2fac1234-31f8-11b4-a222-08002b34c003"
type = "urn:schemas-upnp-org:device:Basic:1"
friendly_name = "Lab device"

[plugins.llmnr]
names = ["lab"]

[plugins.nbns]
names = ["LAB"]

[plugins.wsd]
name = "lab"

[plugins.mdns]
host = "lab"

[plugins.daytime]  # the tutorial's
announce = 1
"""

REFUSED = {"can't announce": ("ssdp", "llmnr", "nbns", "wsd"), "can't send": ("mdns", "mdns")}
"""What the log says, once for each of these: mdns tells of each family.  The tutorial's plugin says nothing."""


def listener(network: Multihomed, number: int, port: int) -> socket.socket:
    """A socket of that client that hears what is announced to a port."""
    client = network.clients[number]
    sock = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", port))
    if GROUPS[port]:
        membership = socket.inet_aton(GROUPS[port]) + socket.inet_aton(f"10.7{number}.0.9")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    sock.settimeout(BOUND)
    return sock


def refusals(child: Child) -> list[dict[str, Any]]:
    return [event for event in child.events if event.get("event") in REFUSED]


def test_announcements_that_a_link_refuses(tmp_path: Path) -> None:
    file = tmp_path / "responderd.toml"
    file.write_text(CONFIG.format(state=tmp_path / "state"))
    site = install_module(tmp_path, "tutorial", plugin_of("SendError"), {"daytime": "Daytime"})
    with Multihomed() as network:
        chain = "add chain inet lab output { type filter hook output priority 0 ; }"
        network.host.run("nft", f"add table inet lab; {chain}; add rule inet lab output oifname link2 drop")
        heard = {port: listener(network, 1, port) for port in GROUPS}
        silent = {port: listener(network, 2, port) for port in GROUPS}
        with daemon(network.host, file, folder=tmp_path, under=with_plugins(site)) as child:
            for sock in heard.values():
                assert sock.recv(4096)
            # link2 is announced to when each plugin wants to, not with link1.
            while len(refusals(child)) < sum(map(len, REFUSED.values())):
                child.wait_for(*REFUSED)
            for sock in silent.values():
                sock.setblocking(False)
                with pytest.raises(BlockingIOError):
                    sock.recv(4096)
            # The firewall lets all through from now on, and another address is announced there.
            network.host.run("nft", "delete table inet lab")
            network.clients[2].ip("addr add 10.72.9.9/16 brd + dev link2")
            network.host.ip("addr flush dev link2 scope global", "addr add 10.72.9.1/16 brd + dev link2")
            for sock in silent.values():
                sock.settimeout(BOUND)
                assert sock.recv(4096)
        for sock in (*heard.values(), *silent.values()):
            sock.close()
    assert child.status == 0, "\n".join(child.said)
    said = "\n".join(child.said)
    assert "crashed" not in said
    refused = refusals(child)
    told = {name: [event["plugin"] for event in refused if event["event"] == name] for name in REFUSED}
    assert {name: sorted(plugins) for name, plugins in told.items()} == {
        name: sorted(plugins) for name, plugins in REFUSED.items()
    }, "an interface at most once a minute"
    assert {event["interface"] for event in refused} == {"link2"}

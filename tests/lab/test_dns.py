"""The dns plugin on the multihomed host, asked by dig, kdig and drill, and taken over by NSD and Knot.

Each client refuses an answer from another address than it asked.
"""

from __future__ import annotations

import signal
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from tests.plugins.dns import peers

from .daemon import Child, daemon
from .multihomed import Multihomed, Way, unicast_ways

pytestmark = [pytest.mark.lab, pytest.mark.clients("dig", "kdig", "drill", "nsd", "knotd")]

SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="  # noqa: S105 - of the tests only

CONFIG = f"""
[plugins.guests]
use = "dns"
interfaces = ["link2"]
zones = {{ "example.test" = "guests.zone" }}
here = ["router.lan"]

[plugins.dns]
zones = {{ "example.test" = "office.zone", "big.test" = "big.zone", "told.test" = "told.zone" }}
here = ["router.lan"]
allow_transfer = ["10.71.0.9/32", "fd71::9/128"]
notify = {{ "told.test" = ["10.71.0.9:5301", "[fd71::9]:5302"] }}
transfer_keys = {{ "key.test" = {{ secret = "{SECRET}" }} }}
"""

ZONE = """$TTL 300
@ SOA ns host 7 3600 600 86400 60
@ NS ns
ns A 10.99.0.1
view TXT "{view}"
www A 192.0.2.80
www AAAA 2001:db8::80
"""


MID = " ".join(f'"{number:0200}"' for number in range(5))
"""An answer of over 1,000 bytes that goes by UDP."""


TOLD = """$TTL 300
@ SOA ns host {serial} 3600 600 86400 60
@ NS ns
ns A 10.71.0.2
ns AAAA fd71::2
text TXT "serial {serial}"
"""
"""Both addresses of the server are such that the system would send from another one."""


def write_told(folder: Path, serial: int) -> None:
    (folder / "told.zone").write_text(TOLD.format(serial=serial))


def write_zones(folder: Path) -> None:
    for view in ("guests", "office"):
        (folder / f"{view}.zone").write_text(ZONE.format(view=view))
    hosts = "".join(f'host{number} A 192.0.2.{number % 250}\nlong TXT "{number:0200}"\n' for number in range(250))
    write_told(folder, 7)
    (folder / "big.zone").write_text(ZONE.format(view="big") + f"mid TXT {MID}\n" + hosts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dns")
    write_zones(folder)
    (folder / "dns.toml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module", autouse=True)
def server(network: Multihomed, folder: Path) -> Iterator[Child]:
    with daemon(network.host, folder / "dns.toml", folder=folder) as child:
        yield child
    assert child.status == 0, "\n".join(child.said)


# As in test_dig: Linux can't shake hands on the second of two links with the same prefix.
NO_HANDSHAKE = "client2-link-local-v4"
WAYS = [(way, "udp") for way in unicast_ways()] + [(way, "tcp") for way in unicast_ways() if str(way) != NO_HANDSHAKE]


def server_of(way: Way) -> str:
    return way.destination + (f"%link{way.client}" if way.destination.startswith("fe80") else "")


def dig(network: Multihomed, way: Way, *question: str, tcp: bool = False) -> list[str]:
    options = ("+short", "+tries=1", "+timeout=5", "+tcp" if tcp else "+notcp")
    return network.clients[way.client].run("dig", f"@{server_of(way)}", *question, *options).splitlines()


@pytest.mark.parametrize(("way", "transport"), WAYS, ids=str)
def test_every_address_answers_with_its_links_view(network: Multihomed, way: Way, transport: str) -> None:
    tcp = transport == "tcp"
    view = "office" if way.client == 1 else "guests"
    assert dig(network, way, "view.example.test", "TXT", tcp=tcp) == [f'"{view}"']
    assert dig(network, way, "www.example.test", "AAAA", tcp=tcp) == ["2001:db8::80"]


@pytest.mark.parametrize("way", unicast_ways(), ids=str)
def test_here_is_the_address_that_was_asked(network: Multihomed, way: Way) -> None:
    """By a link-local IPv6 address it is the link's others, since an address without its scope leads nowhere."""
    own = {"A": {"10.71.0.1", "10.71.0.2", "169.254.0.1"}, "AAAA": {"fd71::1", "fd71::2"}}
    if way.client == 2:
        own = {"A": {"10.72.0.1", "10.72.0.2", "169.254.0.1"}, "AAAA": {"fd72::1", "fd72::2"}}
    same, other = ("A", "AAAA") if ip_address(way.destination).version == 4 else ("AAAA", "A")
    expected = own["AAAA"] if way.destination.startswith("fe80") else {way.destination}
    assert set(dig(network, way, "router.lan", same)) == expected
    assert set(dig(network, way, "router.lan", other)) == own[other]
    assert dig(network, way, "-x", way.destination) == ["router.lan."]


@pytest.mark.parametrize("way", unicast_ways(), ids=str)
def test_kdig_and_drill(network: Multihomed, way: Way) -> None:
    client = network.clients[way.client]
    kdig = client.run("kdig", f"@{server_of(way)}", "+short", "+retry=0", "+time=5", "www.example.test", "A")
    assert kdig.split() == ["192.0.2.80"]
    if "%" not in server_of(way):  # drill takes no scope
        drill = client.run("drill", f"@{way.destination}", "www.example.test", "A")
        assert "192.0.2.80" in drill
        assert f"SERVER: {way.destination}" in drill


def test_a_long_answer_comes_by_tcp(network: Multihomed) -> None:
    way = unicast_ways()[0]
    assert len(dig(network, way, "long.big.test", "TXT")) == 250


def test_how_long_a_connection_may_idle(network: Multihomed) -> None:
    asked = ("dig", "@10.71.0.2", "www.example.test", "A", "+keepalive")
    assert "TCP KEEPALIVE: 10.0 secs" in network.clients[1].run(*asked, "+tcp")
    assert "KEEPALIVE" not in network.clients[1].run(*asked, "+notcp")


def checksum(data: bytes) -> bytes:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2)


def test_a_stale_path_mtu_limits_no_answer(network: Multihomed) -> None:
    """Pitfall 17: an ICMP error, which anyone can forge, makes the kernel believe in a small MTU; answers don't.

    Of IPv4 only: each path takes IPv6 packets of 1280 bytes, and no answer is longer unless `edns_size` says so.
    """
    client = network.clients[1]
    server, own = "10.71.0.2", "10.71.0.9"
    # Of an echo reply, since the kernel looks for no socket then.
    quoted = struct.pack("!BBHHHBBH", 0x45, 0, 1400, 1, 0x4000, 64, 1, 0)
    quoted += socket.inet_aton(server) + socket.inet_aton(own) + bytes(8)
    error = struct.pack("!BBHHH", 3, 4, 0, 0, 600) + quoted
    raw = client.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with raw, client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind((own, 0))
        sock.connect((server, 53))
        raw.sendto(error[:2] + checksum(error) + error[4:], (server, 0))
        assert "mtu 600" in network.host.run("ip", "route", "get", own, "from", server)
        sock.send(dns.message.make_query("mid.big.test", "TXT", use_edns=0, payload=1232).to_wire())
        assert len(sock.recv(65535)) > 1000
    names, numbers = (
        line.split() for line in network.host.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Ip:")
    )
    assert numbers[names.index("FragCreates")] == "0"


@pytest.mark.clients("dnsperf")
@pytest.mark.parametrize("destination", ["10.71.0.2", "fd71::2"])
def test_dnsperf_loses_nothing(network: Multihomed, tmp_path: Path, destination: str) -> None:
    names = [f"{kind}{number}.big.test" for kind in ("host", "none") for number in range(250)]
    (tmp_path / "queries").write_text("".join(f"{name} A\n" for name in names))
    asked = ("-s", destination, "-d", str(tmp_path / "queries"), "-n", "4", "-q", "50")
    said = network.clients[1].run("dnsperf", *asked)
    assert "Queries completed:    2000 (100.00%)" in said
    assert "NOERROR 1000 (50.00%), NXDOMAIN 1000 (50.00%)" in said


def test_several_answers_in_flight_on_one_connection(network: Multihomed) -> None:
    queries = [dns.message.make_query(f"host{number}.big.test", "A", id=number) for number in range(100)]
    wires = [query.to_wire() for query in queries]
    with network.clients[1].socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        sock.connect(("fd71::2", 53))
        sock.sendall(b"".join(len(wire).to_bytes(2) + wire for wire in wires))
        sock.shutdown(socket.SHUT_WR)
        data = b"".join(iter(lambda: sock.recv(65536), b""))
    replies = {}
    while data:
        size = 2 + int.from_bytes(data[:2])
        reply = dns.message.from_wire(data[2:size])
        replies[reply.id] = reply
        data = data[size:]
    assert all(query.is_response(replies[query.id]) for query in queries)


# Transfers


def test_axfr_by_dig(network: Multihomed) -> None:
    asked = ("@10.71.0.2", "big.test", "AXFR", "+noall", "+answer")
    lines = network.clients[1].run("dig", *asked).splitlines()
    assert len(lines) == 508  # 1 + 1 + 1 + 1 + 2 of the head, 1, 500, and SOA again
    assert "Transfer failed" in network.clients[2].run("dig", *asked)
    signed = network.clients[1].run("dig", "-y", f"hmac-sha256:key.test:{SECRET}", *asked).splitlines()
    assert [line for line in signed if "TSIG" not in line] == lines


def test_a_client_without_right_is_refused(network: Multihomed) -> None:
    assert "Transfer failed" in network.clients[1].run("dig", "@10.71.0.2", "-b", "169.254.0.9", "big.test", "AXFR")


NSD_SECONDARY = """
key:
    name: key.test
    algorithm: hmac-sha256
    secret: "{secret}"
zone:
    name: big.test
    zonefile: "{folder}/big.zone"
    request-xfr: {master} key.test
"""

KNOT_SECONDARY = """
key:
  - id: key.test
    algorithm: hmac-sha256
    secret: {secret}
remote:
  - id: master
    address: {master}@53
    key: key.test
zone:
  - domain: big.test
    file: {folder}/big.zone
    master: master
"""


@pytest.mark.parametrize(("name", "master"), [("nsd", "fd71::2"), ("knot", "10.71.0.2")])
def test_a_secondary_takes_the_zone_over(network: Multihomed, tmp_path: Path, name: str, master: str) -> None:
    """With a signature, from a secondary address: a reply from another one would be no reply to it."""
    client = network.clients[1]
    if name == "nsd":
        zones = NSD_SECONDARY.format(secret=SECRET, folder=tmp_path, master=master)
        argv, ready = peers.nsd(tmp_path, 5301, zones), ["nsd started", "received update to serial 7"]
    else:
        zones = KNOT_SECONDARY.format(secret=SECRET, folder=tmp_path, master=master)
        argv, ready = peers.knot(tmp_path, 5301, zones), ["server started", "AXFR, incoming", "finished"]
    with peers.running(client, argv, ready) as secondary:
        if name == "nsd":  # it has the zone, and serves it a moment later
            next(line for line in secondary.said if "updated to 7" in line)
        lines = client.run("dig", "@127.0.0.1", "-p", "5301", "host17.big.test", "A", "+short").splitlines()
        assert lines == ["192.0.2.17"]


NSD_TOLD = """
zone:
    name: told.test
    zonefile: "{folder}/told.zone"
    request-xfr: fd71::2 NOKEY
    allow-notify: fd71::2 NOKEY
"""

KNOT_TOLD = """
remote:
  - id: primary
    address: 10.71.0.2@53
acl:
  - id: primary
    address: 10.71.0.2
    action: notify
zone:
  - domain: told.test
    file: {folder}/told.zone
    master: primary
    acl: primary
"""


def test_secondaries_are_told_of_a_change_and_take_it_over(
    network: Multihomed, folder: Path, server: Child, tmp_path: Path
) -> None:
    """Each takes a NOTIFY from the one address that it knows, and from no other."""
    client = network.clients[1]
    (tmp_path / "nsd").mkdir()
    zones = NSD_TOLD.format(folder=tmp_path / "nsd")
    nsd = peers.nsd(tmp_path / "nsd", 5302, zones, listen="fd71::9")
    knot = peers.knot(tmp_path, 5301, KNOT_TOLD.format(folder=tmp_path), listen="10.71.0.9")
    with (
        peers.running(client, nsd, ["nsd started", "received update to serial 7"]) as first,
        peers.running(client, knot, ["server started", "AXFR, incoming", "finished"]) as second,
    ):
        write_told(folder, 8)
        server.signal(signal.SIGHUP)
        server.wait_for("reloaded")
        next(line for line in first.said if "updated to 8" in line)
        next(line for line in second.said if "serial 7 -> 8" in line)
        for where, port in (("fd71::9", "5302"), ("10.71.0.9", "5301")):
            said = client.run("dig", f"@{where}", "-p", port, "text.told.test", "TXT", "+short").strip()
            assert said == '"serial 8"'
    write_told(folder, 7)


# Reloads


def test_a_reload_takes_the_changed_zone_and_keeps_the_old_for_a_broken_one(
    network: Multihomed, folder: Path, server: Child
) -> None:
    way = unicast_ways()[0]
    (folder / "office.zone").write_text(ZONE.format(view="changed"))
    server.signal(signal.SIGHUP)
    server.wait_for("reloaded")
    assert dig(network, way, "view.example.test", "TXT") == ['"changed"']
    (folder / "office.zone").write_text(ZONE.format(view="broken") + "x NOTYPE 1\n")
    server.signal(signal.SIGHUP)
    server.wait_for("reloaded")
    assert dig(network, way, "view.example.test", "TXT") == ['"changed"']
    assert dig(network, way, "www.big.test", "A") == ["192.0.2.80"]
    assert any("office.zone:8:" in line and "unknown type 'NOTYPE'" in line for line in server.said)
    write_zones(folder)
    server.signal(signal.SIGHUP)
    server.wait_for("reloaded")
    assert dig(network, way, "view.example.test", "TXT") == ['"office"']

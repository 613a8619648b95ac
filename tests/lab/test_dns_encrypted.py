"""DNS over TLS and HTTPS on the multihomed host, by kdig, curl and dnspython; and a new certificate under load."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.tsigkeyring
import dns.xfr
import dns.zone
import pytest

from tests.plugins.dns import peers
from tests.plugins.dns.certificates import Authority

from .daemon import Child, daemon
from .multihomed import Multihomed
from .namespaces import Lab

pytestmark = [pytest.mark.lab, pytest.mark.clients("kdig", "curl")]

SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="  # noqa: S105 - of the tests only
NAME = "ns.example.test"

CONFIG = f"""
[plugins.dns]
zones = {{ "example.test" = "example.zone", "big.test" = "big.zone" }}
here = ["router.lan"]
allow_transfer = ["10.71.0.9/32"]
tls = {{ certificate = "server.pem", key = "server.key" }}
transfer_keys = {{ "key.test" = {{ secret = "{SECRET}" }} }}
"""

ZONE = """$TTL 300
@ SOA ns host 7 3600 600 86400 60
@ NS ns
ns A 10.71.0.1
www A 192.0.2.80
"""

BIG = ZONE + "".join(f"host{number} A 192.0.2.{number % 250}\n" for number in range(20_000))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    Authority(folder).issue()
    (folder / "example.zone").write_text(ZONE)
    (folder / "big.zone").write_text(BIG)
    (folder / "dns.toml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module", autouse=True)
def server(network: Multihomed, folder: Path) -> Iterator[Child]:
    with daemon(network.host, folder / "dns.toml", folder=folder) as child:
        yield child
    assert child.status == 0, "\n".join(child.said)


ADDRESSES = ["10.71.0.1", "10.71.0.2", "10.72.0.2", "fd71::2", "10.99.0.1", "fd99::1", "fe80::1%link1"]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("way", ["+tls", "+https", "+https-get"])
def test_kdig(network: Multihomed, folder: Path, address: str, way: str) -> None:
    trust = (f"+tls-ca={folder / 'ca.pem'}", f"+tls-hostname={NAME}")
    answer = network.clients[1].run("kdig", f"@{address}", way, *trust, "+retry=0", "www.example.test", "A")
    assert "192.0.2.80" in answer
    assert "TLS1.3" in answer
    if way != "+tls":
        assert "HTTP/2" in answer
        assert "status: 200" in answer


def test_here_names_are_the_address_that_was_asked(network: Multihomed) -> None:
    answer = network.clients[1].run("kdig", "@10.71.0.2", "+tls", "+short", "router.lan", "A")
    assert answer.split() == ["10.71.0.2"]


def test_kdig_pads_and_is_padded(network: Multihomed) -> None:
    answer = network.clients[1].run("kdig", "@10.71.0.2", "+tls", "+padding=128", "www.example.test", "A")
    assert "PADDING" in answer
    assert "Received 468 B" in answer


def test_how_long_a_connection_may_idle(network: Multihomed) -> None:
    """Knot's kdig 3.2 shows this option as its bytes."""
    answer = network.clients[1].run("kdig", "@10.71.0.2", "+tls", "+ednsopt=11", "www.example.test", "A")
    assert "Option (11): 0064" in answer, answer


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl(network: Multihomed, folder: Path, tmp_path: Path, version: str) -> None:
    query = dns.message.make_query("www.example.test", "A", id=0)
    (tmp_path / "query").write_bytes(query.to_wire())
    said = network.clients[1].run(
        *("curl", "--silent", "--show-error", "--fail", version, "--cacert", str(folder / "ca.pem")),
        *("--resolve", f"{NAME}:443:10.71.0.2", "--header", "Content-Type: application/dns-message"),
        *("--data-binary", f"@{tmp_path / 'query'}", "--output", str(tmp_path / "answer")),
        *("--write-out", "%{http_version} %{response_code} %{content_type} %header{cache-control}"),
        f"https://{NAME}/dns-query",
    )
    reply = dns.message.from_wire((tmp_path / "answer").read_bytes())
    assert query.is_response(reply)
    assert "192.0.2.80" in reply.to_text()
    assert said.split() == [
        {"--http1.1": "1.1", "--http2": "2"}[version],
        "200",
        "application/dns-message",
        "max-age=300",
    ]


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("size", [65537, 70_000, 20_000_000])
def test_curl_sees_that_a_body_is_too_long(
    network: Multihomed, folder: Path, tmp_path: Path, size: int, version: str
) -> None:
    (tmp_path / "body").write_bytes(bytes(size))
    said = network.clients[1].run(
        *("curl", "--silent", "--show-error", version, "--cacert", str(folder / "ca.pem"), "--max-time", "5"),
        *("--resolve", f"{NAME}:443:10.71.0.2", "--header", "Content-Type: application/dns-message"),
        *("--data-binary", f"@{tmp_path / 'body'}", "--write-out", "%{response_code}", f"https://{NAME}/dns-query"),
    )
    assert said == "413"


def test_only_tcp_is_bound(network: Multihomed) -> None:
    for number in (443, 853):
        assert network.host.run("ss", "-Hlun", f"sport = :{number}") == ""
        assert "LISTEN" in network.host.run("ss", "-Hltn", f"sport = :{number}")


def test_a_zone_is_taken_over_by_kdig(network: Multihomed) -> None:
    asked = ("kdig", "@10.71.0.2", "+tls", "big.test", "AXFR")
    signed = network.clients[1].run(*asked, "-y", f"hmac-sha256:key.test:{SECRET}")
    plain = network.clients[1].run(*asked)
    for said in (signed, plain):
        assert "20005 records" in said
    with pytest.raises(RuntimeError, match="server replied with error 'REFUSED'"):
        network.clients[2].run("kdig", "@10.72.0.2", "+tls", "big.test", "AXFR")


@contextlib.contextmanager
def connected(
    network: Multihomed, folder: Path, port: int = 853, *, newest: ssl.TLSVersion | None = None
) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.set_alpn_protocols(["dot"])
    if newest is not None:
        context.maximum_version = newest
    with network.clients[1].socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(20)
        sock.connect(("10.71.0.2", port))
        with context.wrap_socket(sock, server_hostname=NAME) as secured:
            yield secured


@pytest.mark.parametrize("rdtype", ["AXFR", "IXFR"])
def test_a_zone_is_taken_over_by_dnspython(network: Multihomed, folder: Path, rdtype: str) -> None:
    keyring = dns.tsigkeyring.from_text({"key.test": SECRET})
    zone = dns.zone.Zone("big.test")
    query, _ = dns.xfr.make_query(zone, serial=None if rdtype == "AXFR" else 1, keyring=keyring, keyname="key.test")
    with connected(network, folder) as sock, dns.xfr.Inbound(zone, query.question[0].rdtype, 1, False) as inbound:
        dns.query.send_tcp(sock, query)
        done, context = False, None
        while not done:
            reply = dns.message.from_wire(
                _message(sock),
                keyring=keyring,
                request_mac=query.mac,
                xfr=True,
                origin=zone.origin,
                tsig_ctx=context,
                multi=True,
                one_rr_per_rrset=True,
            )
            context = reply.tsig_ctx
            done = inbound.process_message(reply)
    assert len(zone.nodes) == 20_003


def _message(sock: ssl.SSLSocket) -> bytes:
    size = int.from_bytes(_exactly(sock, 2))
    return _exactly(sock, size)


def _exactly(sock: ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def test_a_zone_is_not_handed_over_by_tls_12(network: Multihomed, folder: Path) -> None:
    query = dns.message.make_query("big.test", "AXFR")
    with connected(network, folder, newest=ssl.TLSVersion.TLSv1_2) as sock:
        dns.query.send_tcp(sock, query)
        reply = dns.message.from_wire(_message(sock))
    assert reply.rcode() == dns.rcode.REFUSED


NSD_SECONDARY = """
tls-auth:
    name: "primary"
    auth-domain-name: "ns.example.test"
key:
    name: key.test
    algorithm: hmac-sha256
    secret: "{secret}"
zone:
    name: big.test
    zonefile: "{folder}/big.zone"
    request-xfr: AXFR 10.71.0.2@853 key.test primary
"""


@pytest.mark.clients("nsd", "dig")
def test_nsd_takes_a_zone_over(network: Multihomed, folder: Path, tmp_path: Path) -> None:
    """By TLS, which it checks the certificate of, with a signature."""
    client = network.clients[1]
    zones = NSD_SECONDARY.format(secret=SECRET, folder=tmp_path)
    argv = peers.nsd(tmp_path, 5301, zones, server=f'    tls-cert-bundle: "{folder / "ca.pem"}"')
    with peers.running(client, argv, ["nsd started", "serial 0 is updated to 7"]):
        answer = client.run("dig", "@127.0.0.1", "-p", "5301", "host19999.big.test", "A", "+short")
    assert answer.split() == ["192.0.2.249"]


def ask(sock: ssl.SSLSocket, number: int) -> bool:
    query = dns.message.make_query("www.example.test", "A", id=number % 65536)
    dns.query.send_tcp(sock, query)
    reply = dns.message.from_wire(_message(sock))
    return query.is_response(reply) and "192.0.2.80" in reply.to_text()


class Load(threading.Thread):
    """Asks until it is told to stop: each query on a connection of its own, or all on one.

    answered, lost  how many queries were, and why others were not
    seen            the serial numbers of the certificates
    """

    def __init__(self, network: Multihomed, folder: Path, *, lasting: bool) -> None:
        super().__init__(name="load")
        self._ends = threading.Event()
        self._changed = threading.Condition()
        self._network, self._folder, self._lasting = network, folder, lasting
        self.answered, self.lost = 0, list[str]()
        self.seen: set[str] = set()

    def run(self) -> None:
        while not self._ends.is_set() and not self.lost:
            try:
                with connected(self._network, self._folder) as sock:
                    self.seen.add(str((sock.getpeercert() or {})["serialNumber"]))
                    while ask(sock, self.answered):
                        with self._changed:
                            self.answered += 1
                            self._changed.notify_all()
                        if not self._lasting or self._ends.is_set():
                            break
                    else:
                        self.lost.append("a wrong answer")
            except (OSError, EOFError) as error:
                self.lost.append(repr(error))
        with self._changed:
            self._changed.notify_all()

    def wait_for_more(self, count: int) -> None:
        with self._changed:
            enough = self.answered + count
            assert self._changed.wait_for(lambda: self.answered >= enough or self.lost, timeout=60)

    def end(self) -> None:
        self._ends.set()
        self.join()


@pytest.mark.parametrize("signalled", [False, True], ids=["watched", "reloaded"])
def test_a_certificate_changes_under_load(network: Multihomed, folder: Path, server: Child, signalled: bool) -> None:
    authority = Authority(folder)

    def change() -> None:
        authority.issue()
        if signalled:
            server.signal(signal.SIGHUP)
            server.wait_for("reloaded")
        else:
            server.wait_for("a new certificate is in use")

    change()  # to one of this authority, which the clients trust
    loads = [Load(network, folder, lasting=lasting) for lasting in (False, True)]
    for load in loads:
        load.start()
    for _ in range(3):
        for load in loads:
            load.wait_for_more(10)
        change()
    for load in loads:
        load.wait_for_more(10)
        load.end()
    assert [load.lost for load in loads] == [[], []]
    assert [len(load.seen) for load in loads] == [4, 1]


def test_workers_share_them(folder: Path, tmp_path: Path) -> None:
    """Ports with TCP alone are handed to workers, go, and come again."""
    config, plain = tmp_path / "dns.toml", CONFIG.replace("tls =", "# tls =")
    for name in ("example.zone", "big.zone", "server.pem", "server.key"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    config.write_text(f"[daemon]\nworkers = 2\n{CONFIG}")
    with Lab() as lab:
        host, client = lab.namespace("host"), lab.namespace("client")
        lab.link(host, "eth1", client, "eth1")
        host.ip("addr add 10.71.0.2/24 dev eth1")
        client.ip("addr add 10.71.0.9/24 dev eth1")

        def asked(*way: str) -> list[str]:
            return client.run("kdig", "@10.71.0.2", *way, "+short", "www.example.test").split()

        with daemon(host, config, folder=tmp_path) as child:
            for _ in range(4):
                assert [asked("+tls"), asked("+https"), asked()] == [["192.0.2.80"]] * 3
            config.write_text(f"[daemon]\nworkers = 2\n{plain}")
            child.signal(signal.SIGHUP)
            child.wait_for("reloaded")
            assert asked() == ["192.0.2.80"]
            config.write_text(f"[daemon]\nworkers = 2\n{CONFIG}")
            child.signal(signal.SIGHUP)
            child.wait_for("reloaded")
            for _ in range(4):
                assert [asked("+tls"), asked("+https"), asked()] == [["192.0.2.80"]] * 3
        assert child.status == 0, "\n".join(child.said)

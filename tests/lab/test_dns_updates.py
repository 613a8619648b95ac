"""Updates by nsupdate, certbot's and external-dns' forms of them, and secondaries that take the differences."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update
import dns.zone
import pytest

from tests.plugins.dns import peers

from . import updating
from .daemon import Child, daemon
from .namespaces import Lab, Namespace
from .updating import KEY, SECRET, axfr, nsupdate

pytestmark = [pytest.mark.lab, pytest.mark.clients("dig", "nsupdate")]

PORTS = {"knot": 5301, "nsd": 5302, "named": 5303}


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Lab() as lab:
        yield lab.namespace("updates")


def test_what_was_acknowledged_is_there_after_any_kill_and_nothing_else(namespace: Namespace, tmp_path: Path) -> None:
    """Bounded for CI; `python -m tests.lab.updating` goes on for as long as wanted."""
    assert updating.run(namespace, tmp_path, 300, seed=2136) >= 3


# Secondaries

KNOT = """
remote:
  - id: primary
    address: 127.0.0.1@5300
acl:
  - id: primary
    address: 127.0.0.1
    action: [notify, transfer]
zone:
  - domain: example.test
    file: {folder}/example.test.zone
    master: primary
    acl: primary
"""

NSD = """
zone:
    name: example.test
    zonefile: "{folder}/example.test.zone"
    request-xfr: 127.0.0.1@5300 NOKEY
    allow-notify: 127.0.0.1 NOKEY
    provide-xfr: 127.0.0.1 NOKEY
"""

NAMED = """
options {{
    directory "{folder}";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    pid-file "{folder}/named.pid";
    session-keyfile none;
    recursion no;
    dnssec-validation no;
}};
controls {{ }};
logging {{ category default {{ default_stderr; }}; category xfer-in {{ default_stderr; }}; }};
zone "example.test" {{
    type secondary;
    file "{folder}/example.test.zone";
    masterfile-format text;
    primaries {{ 127.0.0.1 port 5300; }};
    allow-notify {{ 127.0.0.1; }};
    allow-transfer {{ 127.0.0.1; }};
}};
"""


def command(name: str, folder: Path) -> tuple[list[str], list[str], str]:
    """The command line of a secondary, what it says once it has the zone, and how it says that it took differences."""
    port = PORTS[name]
    if name == "knot":
        argv = peers.knot(folder, port, KNOT.format(folder=folder))
        return argv, ["server started", "AXFR, incoming", "finished"], "IXFR, incoming, remote 127.0.0.1@5300, finished"
    if name == "nsd":
        return peers.nsd(folder, port, NSD.format(folder=folder)), ["nsd started", "serial 1"], "updated to"
    (folder / "named.conf").write_text(NAMED.format(folder=folder, port=port))
    return ["named", "-g", "-c", str(folder / "named.conf")], ["running", "Transfer status: success"], "Transfer status"


def zone_of(namespace: Namespace, port: int) -> set[str]:
    said = namespace.run("dig", "@127.0.0.1", "-p", str(port), "example.test", "AXFR", "+noall", "+answer")
    return {" ".join(line.split()) for line in said.splitlines()}


@pytest.mark.clients("nsd", "knotd", "named")
@pytest.mark.parametrize("name", PORTS)
def test_a_secondary_takes_the_differences(namespace: Namespace, name: str, tmp_path: Path) -> None:
    """Told by NOTIFY, as each update is one version; in the end its zone is the primary's, to the last record."""
    (tmp_path / name).mkdir()
    config = updating.write(tmp_path, more=f'notify = {{ "example.test" = ["127.0.0.1:{PORTS[name]}"] }}')
    argv, ready, taken = command(name, tmp_path / name)
    with (
        daemon(namespace, config, folder=tmp_path) as child,
        peers.running(namespace, argv, ready) as secondary,
        nsupdate(namespace) as updater,
    ):
        if name == "nsd":  # it has the zone, and knows so a moment later: until then it would ask for the whole again
            next(line for line in secondary.said if "updated to 1" in line)
        for number in range(3):
            assert updater.send(
                f"add h{number}.example.test 60 A 192.0.2.{number}",
                f"add h{number}.example.test 60 TXT one two",
                f"add sub{number}.example.test 60 NS ns.sub{number}.example.test",
                f"add ns.sub{number}.example.test 60 A 192.0.2.{number}",
                f"delete h{number - 1}.example.test TXT",
                f"delete sub{number - 1}.example.test NS",
            )
            serial = number + 2
            line = next(line for line in secondary.said if taken in line and (name == "named" or str(serial) in line))
            if name == "named":  # of the whole zone it were more
                line = next(line for line in secondary.said if "Transfer completed" in line)
                assert f"(serial {serial})" in line
                assert int(line.split("messages, ")[1].split()[0]) == 8 + 2 * min(number, 1)
            elif name == "knot":
                line = next(line for line in secondary.said if "zone updated" in line or "-> " in line)
        assert zone_of(namespace, PORTS[name]) == zone_of(namespace, 5300)
    (counted,) = [event["counts"] for event in child.events if event["event"] == "queries were counted"]
    assert (counted["updated"], counted["transfer-increment"]) == (3, 3)


# Clients' own forms


def by_tcp(namespace: Namespace, query: dns.message.Message) -> dns.message.Message:
    def ask() -> dns.message.Message:
        return dns.query.tcp(query, "127.0.0.1", 10, 5300)

    reply = namespace.call(ask)
    assert isinstance(reply, dns.message.Message)
    return reply


def test_certbot_s_form(namespace: Namespace, tmp_path: Path) -> None:
    """As certbot-dns-rfc2136 does it: the zone is found by asking for SOA records, with a signature and without RD."""
    keyring = dns.tsigkeyring.from_text({"key.test": SECRET})
    name, content = "_acme-challenge.www.example.test", "x" * 43
    with daemon(namespace, updating.write(tmp_path), folder=tmp_path):
        found = None
        for domain in (name, "www.example.test", "example.test", "test"):
            query = dns.message.make_query(domain, dns.rdatatype.SOA, dns.rdataclass.IN)
            query.flags ^= dns.flags.RD
            query.use_tsig(keyring, algorithm=dns.tsig.HMAC_SHA256)
            reply = by_tcp(namespace, query)
            soa = reply.get_rrset(reply.answer, dns.name.from_text(domain), dns.rdataclass.IN, dns.rdatatype.SOA)
            if reply.rcode() == dns.rcode.NOERROR and soa and reply.flags & dns.flags.AA:
                found = domain
                break
        assert found == "example.test"
        for change in ("add", "delete"):
            message = dns.update.Update(found, keyring=keyring, keyalgorithm=dns.tsig.HMAC_SHA256)
            relative = name.removesuffix(".example.test")
            if change == "add":
                message.add(relative, 120, dns.rdatatype.TXT, content)
            else:
                message.delete(relative, dns.rdatatype.TXT, content)
            assert by_tcp(namespace, message).rcode() == dns.rcode.NOERROR
            present = f'"{content}"' in axfr(namespace).get((f"{name}.", "TXT"), set())
            assert present == (change == "add")


def test_external_dns_s_form(namespace: Namespace, tmp_path: Path) -> None:
    """AXFR with a signature to see what is there; then records are deleted and added, several in a message."""
    keyring = dns.tsigkeyring.from_text({"key.test": SECRET})

    def listed() -> dict[tuple[str, str], list[str]]:
        def transfer() -> Any:
            messages = dns.query.xfr(
                "127.0.0.1", "example.test", port=5300, keyring=keyring, relativize=False, lifetime=10
            )
            return dns.zone.from_xfr(messages, relativize=False)

        zone = namespace.call(transfer)
        return {
            (str(name), dns.rdatatype.to_text(rdataset.rdtype)): sorted(str(rdata) for rdata in rdataset)
            for name, rdataset in zone.iterate_rdatasets()
            if rdataset.rdtype != dns.rdatatype.SOA
        }

    owner = '"heritage=external-dns,external-dns/owner=default"'
    wanted = {
        ("app.example.test.", "A"): ["192.0.2.1", "192.0.2.2"],
        ("app.example.test.", "TXT"): [owner],
        ("a-app.example.test.", "TXT"): [owner],
        ("alias.example.test.", "CNAME"): ["app.example.test."],
    }
    with daemon(namespace, updating.write(tmp_path), folder=tmp_path):
        before = listed()
        for targets in (wanted, {**wanted, ("app.example.test.", "A"): ["192.0.2.9"]}, {}):
            present = {key: value for key, value in listed().items() if key not in before}
            message = dns.update.Update("example.test", keyring=keyring, keyalgorithm=dns.tsig.HMAC_SHA256)
            for (name, rdtype), rdatas in present.items():
                if targets.get((name, rdtype)) != rdatas:
                    for rdata in rdatas:
                        message.delete(name, rdtype, rdata)
            for (name, rdtype), rdatas in targets.items():
                if present.get((name, rdtype)) != rdatas:
                    for rdata in rdatas:
                        message.add(name, 300, rdtype, rdata)
            assert by_tcp(namespace, message).rcode() == dns.rcode.NOERROR
            assert listed() == {**before, **targets}


# Workers


def serials(namespace: Namespace, asks: int) -> set[int]:
    """What processes that share the port say, each query from a socket of its own."""

    def ask() -> set[int]:
        query = dns.message.make_query("example.test", "SOA")
        return {dns.query.udp(query, "127.0.0.1", 10, 5300).answer[0][0].serial for _ in range(asks)}

    return namespace.call(ask)


def test_processes_that_share_the_port_become_one_zone(namespace: Namespace, tmp_path: Path) -> None:
    config = updating.write(tmp_path, daemon="workers = 3")
    with daemon(namespace, config, folder=tmp_path) as child, nsupdate(namespace) as updater:
        for number in range(60):
            # Each nsupdate has one socket, and so one process: of the answers it's told which have the last version.
            assert updater.send(f"add h{number}.example.test 60 A 192.0.2.{number}")
        tcp = dns.update.Update(
            "example.test",
            keyring=dns.tsigkeyring.from_text({"key.test": SECRET}),
            keyalgorithm=dns.tsig.HMAC_SHA256,
        )
        tcp.add("last", 60, "A", "192.0.2.1")
        assert by_tcp(namespace, tcp).rcode() == dns.rcode.NOERROR
        end = time.monotonic() + 60
        while (found := serials(namespace, 60)) != {62}:
            assert time.monotonic() < end, found
    assert child.status == 0
    with daemon(namespace, updating.write(tmp_path), folder=tmp_path) as single:
        assert serials(namespace, 1) == {62}
        assert len(axfr(namespace)) == 63
    assert single.status == 0


def test_a_key_of_another_secret_is_refused(namespace: Namespace, tmp_path: Path) -> None:
    with daemon(namespace, updating.write(tmp_path), folder=tmp_path) as child:
        script = "server 127.0.0.1 5300\nzone example.test\nadd x.example.test 60 A 192.0.2.1\nsend\n"
        (tmp_path / "script").write_text(script)
        wrong = KEY.replace(SECRET, "d3Jvbmc=")
        said = namespace.run("sh", "-c", f"nsupdate -t 5 -y {wrong} {tmp_path}/script 2>&1 || true")
        assert "NOTAUTH" in said or "BADSIG" in said or "tsig verify failure" in said
        assert not any(name.startswith("x.") for name, _ in axfr(namespace))
    assert isinstance(child, Child)

"""A rollover under real validators: Unbound with the parent's DS record as its anchor, delv, ldns and BIND.

The daemon signs by the system's clock.  Time passes for its keys as the test sets their times back; the signatures'
lifetime is such that each time that the daemon looks, it replaces them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
from responder_plugins.dns.keys.key_files import KeyFolder

from tests.lab.daemon import Child, daemon
from tests.lab.namespaces import Lab, Namespace
from tests.plugins.dns import peers
from tests.plugins.dns.keys.support import DAY, KEY

pytestmark = [
    pytest.mark.lab,
    pytest.mark.clients("unbound", "delv", "dig", "ldns-verify-zone", "dnssec-verify"),
]

ZONE = """$TTL 1
@ SOA ns h 1 3600 600 86400 1
@ NS ns
ns A 127.0.0.1
www A 192.0.2.80
*.wild TXT "made up"
alias CNAME www
a.b.empty A 192.0.2.1
sub NS ns.elsewhere.invalid.
"""

CONFIG = """
[daemon]
state = "state"

[plugins.dns]
port = 5300
zones = {{ "example.test" = "zone" }}
allow_transfer = ["127.0.0.0/8"]

[plugins.dns.sign."example.test"]
keys = "keys"
signature_lifetime = 7200
signature_refresh = 7199
signature_jitter = 0
{more}
"""

UNBOUND = """
server:
    interface: 127.0.0.1
    port: 5353
    do-daemonize: no
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    logfile: ""
    verbosity: 1
    num-threads: 1
    do-not-query-localhost: no
    module-config: "validator iterator"
    local-zone: "test." nodefault
    trust-anchor: "{anchor}"
stub-zone:
    name: example.test
    stub-addr: 127.0.0.1@5300
"""

FOLLOWED = "a zone was signed by another process"
DIG = ("dig", "@127.0.0.1", "-p", "5300", "+short", "+dnssec", "www.example.test", "A")

ASKED = {
    "www.example.test A": dns.rcode.NOERROR,
    "x.wild.example.test TXT": dns.rcode.NOERROR,
    "x.wild.example.test A": dns.rcode.NOERROR,
    "alias.example.test A": dns.rcode.NOERROR,
    "b.empty.example.test A": dns.rcode.NOERROR,
    "empty.example.test A": dns.rcode.NOERROR,
    "none.www.example.test A": dns.rcode.NXDOMAIN,
    "sub.example.test DS": dns.rcode.NOERROR,
    "example.test DNSKEY": dns.rcode.NOERROR,
    "example.test CDS": dns.rcode.NOERROR,
}


@attrs.define
class Signer:
    """The daemon in a namespace, and what a parent does."""

    namespace: Namespace
    folder: Path
    child: Child

    def command(self, *words: str) -> str:
        command = (sys.executable, "-m", "responder", "dns", *words, "--config", str(self.folder / "config.toml"))
        return self.namespace.run(*command)

    def answers(self, question: str) -> list[str]:
        return self.namespace.run("dig", "@127.0.0.1", "-p", "5300", "+short", *question.split()).split("\n")[:-1]

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Until the daemon has signed the zone so; each time that it does so is an event."""
        for _ in range(30):
            if holds():
                return
            self.child.wait_for("a zone was signed")
        raise AssertionError(self.child.said)

    def pass_time(self, seconds: float) -> None:
        folder = KeyFolder(self.folder / "keys", KEY)
        for key in folder.load():
            folder.save(key.with_times(**{name: time - int(seconds) for name, time in key.times.items()}))

    def published(self) -> set[int]:
        """The tags of the DNSKEY records."""
        answer = self.namespace.run("dig", "@127.0.0.1", "-p", "5300", "example.test", "DNSKEY", "+multiline")
        return {int(line.rpartition("key id = ")[2]) for line in answer.splitlines() if "key id = " in line}

    def signers(self) -> set[int]:
        """The tags of the keys that a record is signed with."""
        return {int(line.split()[6]) for line in self.answers("+dnssec www.example.test A") if line.startswith("A ")}

    def asks_for(self) -> list[int]:
        return [int(line.split()[0]) for line in self.answers("example.test CDS")]

    def ds(self) -> str:
        """What the parent is to have."""
        lines = [line.partition(" ; ") for line in self.command("ds", "example.test").splitlines()]
        return [record for record, _, state in lines if not state.startswith("published")][-1]

    def validate(self, anchor: str) -> None:
        """All validators take the zone, with the DS record that the parent has."""
        with unbound(self.namespace, self.folder, anchor):
            for question, rcode in ASKED.items():
                name, rdtype = question.split()
                reply = self.ask(name, rdtype)
                assert (reply.rcode(), bool(reply.flags & dns.flags.AD)) == (rcode, True), f"{question}\n{reply}"
        _, _, _, _, *data = anchor.split()
        anchors = self.folder / "anchors"
        tag, algorithm, kind, digest = data
        anchors.write_text(f'trust-anchors {{ example.test. static-ds {tag} {algorithm} {kind} "{digest}"; }};\n')
        for question in ("www.example.test A", "none.www.example.test A"):
            said = self.namespace.run(
                *("delv", "@127.0.0.1", "-p", "5300", "-a", str(anchors), "+root=example.test", *question.split())
            )
            assert "fully validated" in said, said
        zone = self.folder / "axfr"
        zone.write_text(self.namespace.run("dig", "@127.0.0.1", "-p", "5300", "example.test", "AXFR"))
        for argv in (["ldns-verify-zone", str(zone)], ["dnssec-verify", "-z", "-o", "example.test", str(zone)]):
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

    def is_bogus(self, anchor: str) -> bool:
        with unbound(self.namespace, self.folder, anchor):
            return self.ask("www.example.test", "A").rcode() == dns.rcode.SERVFAIL

    def ask(self, name: str, rdtype: str) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype, want_dnssec=True)
        return self.namespace.call(lambda: dns.query.udp(query, "127.0.0.1", timeout=20, port=5353))


@contextmanager
def unbound(namespace: Namespace, folder: Path, anchor: str) -> Iterator[None]:
    config = folder / "unbound.conf"
    config.write_text(UNBOUND.format(anchor=anchor))
    with peers.running(namespace, ["unbound", "-d", "-c", str(config)], ["start of service"]):
        yield


@contextmanager
def signing(folder: Path, more: str) -> Iterator[Signer]:
    (folder / "zone").write_text(ZONE)
    (folder / "config.toml").write_text(CONFIG.format(more=more))
    with Lab() as lab:
        namespace = lab.namespace("signer")
        with daemon(namespace, folder / "config.toml", folder=folder) as child:
            signer = Signer(namespace, folder, child)
            signer.wait_until(lambda: bool(signer.signers()))
            yield signer


def test_a_csk_rolls(tmp_path: Path) -> None:
    with signing(tmp_path, 'denial = "nsec"') as signer:
        (old,) = signer.published()
        signer.pass_time(DAY)
        signer.wait_until(lambda: signer.asks_for() == [old])
        parent = signer.ds()
        signer.validate(parent)

        signer.command("keys", "example.test", "--roll", "csk")
        signer.wait_until(lambda: len(signer.published()) == 2)
        (new,) = signer.published() - {old}
        assert signer.signers() == {old}
        assert signer.asks_for() == [old]
        signer.validate(parent)

        signer.pass_time(DAY)  # it is in every cache
        signer.wait_until(lambda: signer.signers() == {new})
        assert signer.asks_for() == [new]
        signer.validate(parent)
        signer.pass_time(100 * DAY)  # whatever the time: the parent has not moved
        signer.wait_until(lambda: signer.signers() == {new})
        assert signer.published() == {old, new}
        signer.validate(parent)

        parent = signer.ds()
        assert f" DS {new} " in parent
        signer.validate(parent)
        signer.command("keys", "example.test", "--ds-seen", str(new))
        signer.validate(parent)
        signer.wait_until(lambda: "is removed" in signer.command("keys"))
        signer.pass_time(3 * DAY)
        signer.wait_until(lambda: signer.published() == {new})
        signer.validate(parent)
        assert "removed" in signer.command("keys")


def test_a_zsk_and_then_a_ksk_roll(tmp_path: Path) -> None:
    with signing(tmp_path, 'denial = "nsec3"\ncsk = false') as signer:
        signer.pass_time(DAY)
        signer.wait_until(lambda: len(signer.asks_for()) == 1)
        (ksk,) = signer.asks_for()
        (zsk,) = signer.published() - {ksk}
        parent = signer.ds()
        signer.validate(parent)

        signer.command("keys", "example.test", "--roll", "zsk")
        signer.wait_until(lambda: len(signer.published()) == 3)
        signer.validate(parent)
        signer.pass_time(DAY)
        signer.wait_until(lambda: signer.signers().isdisjoint({zsk}))
        signer.validate(parent)
        signer.wait_until(lambda: "is removed" in signer.command("keys"))
        signer.pass_time(3 * DAY)
        signer.wait_until(lambda: zsk not in signer.published())
        signer.validate(parent)

        signer.command("keys", "example.test", "--roll", "ksk")
        signer.wait_until(lambda: len(signer.published()) == 3)
        signer.validate(parent)
        signer.pass_time(DAY)
        signer.wait_until(lambda: signer.asks_for() != [ksk])
        before = parent
        parent = signer.ds()
        for anchor in (before, parent):  # both are in caches
            signer.validate(anchor)
        (new,) = signer.asks_for()
        signer.command("keys", "example.test", "--ds-seen", str(new))
        signer.wait_until(lambda: "is removed" in signer.command("keys"))
        signer.pass_time(3 * DAY)
        signer.wait_until(lambda: ksk not in signer.published())
        signer.validate(parent)
        assert signer.is_bogus(before)


def test_all_workers_give_the_same_signatures(tmp_path: Path) -> None:
    """One signs, the others follow it: at the start, and where the zone's file has changed."""
    (tmp_path / "zone").write_text(ZONE)
    config = CONFIG.replace('state = "state"', 'state = "state"\nworkers = 3').replace(
        "port = 5300", "watch = true\nport = 5300"
    )
    (tmp_path / "config.toml").write_text(re.sub("signature_.*\n", "", config).format(more=""))
    with Lab() as lab:
        namespace = lab.namespace("workers")
        with daemon(namespace, tmp_path / "config.toml", folder=tmp_path) as child:
            for address in ("192.0.2.80", "192.0.2.90"):
                new = tmp_path / "new"
                new.write_text(ZONE.replace("192.0.2.80", address))
                new.replace(tmp_path / "zone")
                while not _are_one(namespace, address):
                    child.wait_for("a zone was signed", FOLLOWED)


def _are_one(namespace: Namespace, address: str) -> bool:
    """Is it one signature of this address that whoever is asked answers with?"""
    answers = {namespace.run(*DIG, "-b", f"127.0.0.{host}") for host in range(1, 40)}
    return len(answers) == 1 and answers.pop().startswith(f"{address}\nA 13 3 1 20")

"""A silent primary, one killed in the middle of a transfer, one that signs its zone, a daemon with several workers."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab, Namespace
from tests.plugins.dns import peers
from tests.plugins.dns.transfer.primaries import KNOT_KEY, OURS, THEIRS, Knot, Nsd
from tests.plugins.dns.transfer.test_peers import KEY, SECONDARY, ours, text, whole

pytestmark = [pytest.mark.lab, pytest.mark.clients("dig", "nsd", "knotd")]

PROXY = 5302
"""A port between the primary and us."""

AT_TYPE = 2 + 12 + len(b"\5other\4test\0")
"""Where the type stands in a query by TCP."""

BOUND = 60.0
"""Seconds: generous, for a loaded machine."""


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    with Lab() as lab:
        yield lab.namespace("dns")


class KillingProxy:
    """Hands a primary's messages on; where `kills`, it kills the primary in the middle of the next transfer."""

    def __init__(self, namespace: Namespace, victim: int) -> None:
        self.kills = False
        self._namespace = namespace
        self._victim = victim
        self._listener = namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", PROXY))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._converse, args=(client,)))
            self._threads[-1].start()

    def _converse(self, client: socket.socket) -> None:
        with client, self._namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as server, suppress(OSError):
            server.connect(("127.0.0.1", THEIRS))
            query = client.recv(65536)
            server.sendall(query)
            is_transfer = query[AT_TYPE : AT_TYPE + 2] in (b"\0\xfb", b"\0\xfc")
            while data := server.recv(65536):
                if self.kills and is_transfer:
                    client.sendall(data[: len(data) // 2])
                    os.kill(self._victim, signal.SIGKILL)
                    return
                client.sendall(data)

    def close(self) -> None:
        """Once the primary is dead."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


def test_the_second_primary_is_asked_where_the_first_is_silent(namespace: Namespace, tmp_path: Path) -> None:
    """Of each check anew: for the zone, and for a change that the second tells of."""
    folder = tmp_path / "other"
    folder.mkdir()
    primary = Nsd(namespace, folder)
    config = SECONDARY.replace(f'["127.0.0.1:{THEIRS}"]', f'["127.0.0.1:9", "127.0.0.1:{THEIRS}"]')
    with primary.primary(), ours(namespace, tmp_path, config) as child:
        assert child.wait_for("a zone was transferred")["serial"] == 7
        primary.change(8)
        assert child.wait_for("a zone was transferred")["serial"] == 8
        assert text(namespace, OURS) == "8"


def test_a_primary_killed_in_the_middle_changes_nothing(namespace: Namespace, tmp_path: Path) -> None:
    """Its zone is taken when it is back; until then the version before is served."""
    folder = tmp_path / "other"
    folder.mkdir()
    primary = Nsd(namespace, folder)
    config = SECONDARY.replace(f"127.0.0.1:{THEIRS}", f"127.0.0.1:{PROXY}")
    with primary.primary(), ours(namespace, tmp_path, config) as child:
        proxy = KillingProxy(namespace, primary.process.pid)
        try:
            # There is no UDP port: the SOA record is asked for by TCP too.
            assert child.wait_for("a zone was transferred")["serial"] == 7
            proxy.kills = True
            primary.change(8)
            child.wait_for("a zone can't be checked or transferred")
            assert text(namespace, OURS) == "7"
        finally:
            proxy.close()
        assert len(whole(namespace, OURS)) == 255


SIGNED = f"""{KNOT_KEY}
remote:
  - id: ours
    address: 127.0.0.1@{OURS}
    key: key.test
acl:
  - id: transfers
    key: key.test
    action: transfer
zone:
  - domain: other.test
    file: {{file}}
    zonefile-load: difference-no-serial
    zonefile-sync: -1
    journal-content: all
    dnssec-signing: on
    acl: transfers
    notify: ours
"""


def test_a_zone_that_its_primary_signs_is_served_signed(namespace: Namespace, tmp_path: Path) -> None:
    """Also after changes, which have new signatures and links of the chain."""
    folder = tmp_path / "other"
    folder.mkdir()
    primary = Knot(namespace, folder)
    with primary.primary():  # for its zone file
        pass
    argv = peers.knot(folder, THEIRS, SIGNED.format(file=primary.file))

    def asked(name: str) -> str:
        return namespace.run("dig", "@127.0.0.1", "-p", str(OURS), name, "TXT", "+dnssec", "+norec")

    with primary.running(argv, ["server started"]), ours(namespace, tmp_path, SECONDARY) as child:
        first = child.wait_for("a zone was transferred")["serial"]
        primary.file.write_text(primary.file.read_text() + 'later TXT "later"\n')
        os.kill(primary.process.pid, signal.SIGHUP)
        while True:
            event = child.wait_for("a zone was transferred")
            if event["serial"] > first and "later." in "".join(whole(namespace, OURS)):
                break
        assert event["changes"] == 1
        assert "RRSIG\tTXT 13" in asked("later.other.test")
        denied = asked("none.other.test")
        assert "status: NXDOMAIN" in denied
        assert "NSEC" in denied
        assert whole(namespace, OURS) == whole(namespace, THEIRS)


WORKERS = f"""
[daemon]
state = "state"
workers = 2

[plugins.dns]
port = {OURS}
{KEY}

[plugins.dns.secondary."other.test"]
primaries = ["127.0.0.1:{THEIRS}"]
key = "key.test"
"""


def test_with_workers_all_serve_what_one_has_taken(namespace: Namespace, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    primary = Knot(namespace, folder)

    def answers() -> set[str]:
        """Of both workers: the kernel gives each new port of ours to one of them."""
        return {text(namespace, OURS) for _ in range(12)}

    def until(expected: set[str]) -> None:
        end = time.monotonic() + BOUND
        while (seen := answers()) != expected:
            assert time.monotonic() < end, seen

    with primary.primary(), ours(namespace, tmp_path, WORKERS) as child:
        until({"7"})
        for serial in (8, 9):
            primary.change(serial)
            until({str(serial)})
        transferred = [line for line in child.said if "a zone was transferred" in line]
        assert len(transferred) == 3

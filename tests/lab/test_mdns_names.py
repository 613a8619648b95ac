"""A name that another host has on one link: what the daemon is called there, and how it says so."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.dns_message import RRset, Writer

from .daemon import daemon
from .multihomed import Multihomed
from .operating import CONTROL, instance, status
from .test_mdns import GROUP, answers_of, config, established, group_socket

pytestmark = pytest.mark.lab


def test_a_name_that_is_taken_is_told_by_status_as_long_as_it_is_so_and_kept_for_that_link(tmp_path: Path) -> None:
    taken = dns.to_name([b"lab", b"local"])
    theirs = RRset(taken, dns.A, 120, (socket.inet_aton("10.71.0.9"),), 0x8001)
    writer = Writer(b"", 512)
    writer.add(0, theirs)
    claim = writer.finish(0, dns.QR | dns.AA)
    file = config(tmp_path, daemon_keys=f'control = "{tmp_path / CONTROL}"')
    folder = tmp_path / "services"
    folder.mkdir()
    file.write_text(file.read_text().replace('host = "lab"', f'host = "lab"\nservices_dir = "{folder}"'))
    notes = ["link1: the name 'lab' is taken: it is 'lab-2' here"]
    for _ in range(2):
        with (
            Multihomed() as network,
            group_socket(network, 1) as sock,
            daemon(network.host, file, folder=tmp_path) as child,
        ):
            while not answers_of(payload := sock.recv(9000), "lab-2.local"):
                if not dns.read(payload).flags & dns.QR:
                    sock.sendto(claim, (GROUP, 5353))  # a probe: whoever has the name says so
            established(network, 2)
            found = instance(status(tmp_path), "mdns")
            assert "the name 'lab' is taken: it is 'lab-2' here" in found["last_error"]["message"]
            assert found["notes"] == notes
            # It stays there, whatever else is told later, and when the handler is replaced.
            (folder / "wrong.toml").write_text("typo = 1")
            child.wait_for("a service file is left out")
            found = instance(status(tmp_path), "mdns")
            assert "a service file is left out" in found["last_error"]["message"]
            assert found["notes"] == notes
            child.signal(signal.SIGHUP)
            child.wait_for("reloaded")
            found = instance(status(tmp_path), "mdns")
            assert "renamed" not in found["events"]
            assert found["notes"] == notes
            (folder / "wrong.toml").unlink()
            assert child.stop() == 0
        assert json.loads((tmp_path / "state" / "mdns" / "names.json").read_text()) == {"link1": {"host": 2}}

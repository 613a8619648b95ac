"""Zones that are signed here, and what real validators say of them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from responder_plugins.dns import Sign
from responder_plugins.dns.keys.key_files import KeyFolder
from responder_plugins.dns.keys.zone_signer import ZoneSigner
from responder_plugins.dns.zone import master_file
from responder_plugins.dns.zone.builder import name_text
from responder_plugins.dns.zone.tables import Zone

from responder import Context

ORIGIN = dns.name.from_text("example.test")
KEY = ORIGIN.to_digestable()
HOUR, DAY = 3600, 86400
DENIALS: dict[str, dict[str, Any]] = {
    "nsec": {"denial": "nsec"},
    "nsec3": {"denial": "nsec3"},
    "opt-out": {"denial": "nsec3", "opt_out": True},
}


def zone_of(path: Path, text: str) -> Zone:
    """The zone example.test of a file with this text."""
    path.write_text(text)
    return master_file.load(ORIGIN, path, Context("dns", path.parent))


def signer_of(folder: Path, **policy: Any) -> ZoneSigner:
    return ZoneSigner(KEY, Sign(keys=folder, **policy), KeyFolder(folder, KEY), "sign.example.test")


def text_of(zone: Zone) -> str:
    """A zone as a master file."""
    lines = []
    for rrset in zone.rrsets():
        rdtype = dns.rdatatype.RdataType.make(rrset.rdtype)
        for wire in rrset.rdatas:
            rdata = dns.rdata.from_wire(dns.rdataclass.IN, rdtype, wire, 0, len(wire))
            lines.append(f"{name_text(rrset.name)} {rrset.ttl} IN {dns.rdatatype.to_text(rdtype)} {rdata.to_text()}\n")
    return "".join(lines)


def validate(zone: Zone, file: Path, now: float | None = None, *, with_bind: bool = True) -> None:
    """ldns and BIND find every signature and the chain right; `now` is ldns' time, and BIND's is the system's."""
    file.write_text(text_of(zone))
    when = time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() if now is None else now))
    commands = [["ldns-verify-zone", "-t", when, str(file)]]
    if with_bind:  # -z: a CSK does for both
        commands.append(["dnssec-verify", "-z", "-o", "example.test", str(file)])
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

"""The room that signatures take (RFC 8945 section 4.2)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.tsig
import pytest
from responder_plugins.dns import TransferKey
from responder_plugins.dns.transfer import tsig

from tests.plugins.dns.support import SMALL, ask_bytes, handler_of
from tests.plugins.dns.test_tcp import KEYRING, SECRET


@pytest.mark.parametrize("algorithm", ["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"])
@pytest.mark.parametrize("secret", [SECRET, "b3RoZXI="], ids=["good", "badsig"])
@pytest.mark.parametrize("late", [0, 1000])
def test_a_signature_takes_as_many_bytes_as_are_kept_for_it(algorithm: Any, secret: str, late: int) -> None:
    name, now = dns.name.from_text("Key.Test"), time.time()
    query = dns.message.make_query("example.test", "SOA")
    plain = query.to_wire()
    query.use_tsig(dns.tsig.Key(name, secret, algorithm))
    keys = {name: dns.tsig.Key(name, SECRET, algorithm)}
    signer = tsig.verify(query.to_wire(), len(plain), keys, lambda: now + late)
    assert signer is not None
    assert len(signer.sign(plain)) == len(plain) + signer.size


def test_a_signed_answer_fills_what_the_client_takes(tmp_path: Path) -> None:
    """Without EDNS: 512 bytes."""
    (tmp_path / "a.zone").write_text(SMALL + "".join(f"many A 192.0.2.{number}\n" for number in range(24)))
    key = TransferKey(SECRET)
    handler = handler_of(tmp_path, zones={"example.test": Path("a.zone")}, transfer_keys={"key.test": key})
    query = dns.message.make_query("many.example.test", "A")
    query.use_tsig(KEYRING)
    wire = ask_bytes(handler, query.to_wire())
    reply = dns.message.from_wire(wire, keyring=KEYRING, request_mac=query.mac)
    assert len(wire) == 500
    assert (len(reply.answer[0]), reply.flags & dns.flags.TC) == (24, 0)

"""What each bundled plugin says of an exchange in its protocol's own words, and that no bytes make it fail."""

from __future__ import annotations

from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st
from responder_plugins.coap import Coap
from responder_plugins.dns import Dns
from responder_plugins.echo import Echo
from responder_plugins.llmnr import Llmnr
from responder_plugins.mdns import Mdns
from responder_plugins.nbns import Nbns
from responder_plugins.sntp import Sntp
from responder_plugins.ssdp import Device, Ssdp
from responder_plugins.tftp import Tftp
from responder_plugins.whoami import Whoami

from responder import Context, Exchange, Handler, PeerError, Plugin
from responder.plugin import Transport
from responder.testing import hostile, options

from .coap import support as coap
from .llmnr import support as llmnr
from .mdns import support as mdns
from .nbns import support as nbns
from .sntp import support as sntp
from .ssdp import support as ssdp
from .tftp import support as tftp
from .wsd import support as wsd


def answer(query: bytes, rcode: str = "NOERROR") -> bytes:
    response = dns.message.make_response(dns.message.from_wire(query))
    response.set_rcode(dns.rcode.from_text(rcode))
    return response.to_wire()


QUERY = dns.message.make_query("www.Example.", "AAAA", use_edns=True).to_wire()
ODD_NAME = dns.message.make_query(r"a\.b\027.example.", "TYPE65280").to_wire()
LAB = llmnr.query("lab")
TWO = mdns.message(mdns.question("lab.local", 1), mdns.question("lab.local", 28))
PROBE = mdns.message(mdns.question("lab.local", 255), authorities=[mdns.record("lab.local", 1, "192.0.2.1")])
HEARD = mdns.message(answers=[mdns.record("lab.local", 1, "192.0.2.1", flush=True)], flags=0x8400)
NOTIFY = b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: upnp:rootdevice\r\nNTS: ssdp:alive\r\n\r\n"
GET = b"GET /device.xml HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def by_tcp(message: bytes) -> bytes:
    return len(message).to_bytes(2) + message


def of(plugin: Plugin, folder: Path = Path()) -> Handler:
    return plugin.prepare(Context("it", folder))


HANDLERS = {
    "coap": of(Coap()),
    "whoami": of(Whoami()),
    "llmnr": of(Llmnr(("lab",))),
    "mdns": of(options(Mdns, host="lab")),
    "nbns": of(Nbns(("LAB",))),
    "ssdp": of(Ssdp((Device(uuid=ssdp.ROOT_UUID, type=f"{ssdp.BASIC}:1", friendly_name="Lamp"),))),
    "wsd": of(wsd.LAB),
    "echo": of(Echo()),
    "sntp": of(Sntp(trust="always")),
    "tftp": of(Tftp(Path())),
}

WWW = {"name": "www.Example.", "type": "AAAA"}


@pytest.mark.parametrize(
    ("plugin", "transport", "request_", "answers", "words"),
    [
        ("whoami", "udp", QUERY, [], WWW),
        ("whoami", "udp", QUERY, [answer(QUERY, "NXDOMAIN")], {**WWW, "rcode": "NXDOMAIN"}),
        ("whoami", "udp", QUERY, [answer(QUERY, "BADVERS")], {**WWW, "rcode": "BADVERS"}),
        ("whoami", "udp", ODD_NAME, [], {"name": "a\\.b\\027.example.", "type": "TYPE65280"}),
        ("whoami", "udp", b"\0" * 12 + b"\xff", [b"\0\0\x80\1" + bytes(8)], {"rcode": "FORMERR"}),
        ("whoami", "tcp", by_tcp(QUERY) * 2, [by_tcp(answer(QUERY))], {**WWW, "rcode": "NOERROR"}),
        (
            "llmnr",
            "udp",
            llmnr.query("lab"),
            [answer(llmnr.query("lab"))],
            {"name": "lab.", "type": "A", "rcode": "NOERROR"},
        ),
        ("mdns", "udp", TWO, [], {"kind": "query", "name": "lab.local.", "type": "A", "questions": 2}),
        ("mdns", "udp", PROBE, [], {"kind": "probe", "name": "lab.local.", "type": "ANY"}),
        ("mdns", "udp", HEARD, [], {"kind": "response", "name": "lab.local.", "type": "A"}),
        ("mdns", "udp", None, [HEARD], {"kind": "response", "name": "lab.local.", "type": "A"}),
        ("nbns", "udp", nbns.query("LAB", 0x20), [], {"operation": "query", "name": "LAB<20>", "type": "NB"}),
        ("nbns", "udp", nbns.status(), [], {"operation": "query", "name": "*<00>", "type": "NBSTAT"}),
        (
            "nbns",
            "udp",
            nbns.registration(),
            [nbns.refusal(nbns.registration())],
            {"operation": "registration", "name": "LAB<00>", "type": "NB", "rcode": 6},
        ),
        ("ssdp", "udp", ssdp.search("ssdp:all"), [], {"method": "M-SEARCH", "target": "ssdp:all", "mx": "1"}),
        ("ssdp", "udp", None, [NOTIFY], {"method": "NOTIFY", "target": "upnp:rootdevice", "nts": "ssdp:alive"}),
        ("ssdp", "tcp", GET, [NOT_FOUND], {"method": "GET", "path": "/device.xml", "status": 404}),
        ("wsd", "udp", wsd.probe("wsdp:Device"), [], {"action": "Probe", "types": "wsdp:Device"}),
        ("coap", "udp", coap.get("/a"), [], {"type": "CON", "method": "GET", "path": "/a"}),
        ("echo", "udp", b"hi", [b"hi"], {}),
        ("sntp", "udp", sntp.request(), [], {"version": 4, "mode": 3}),
        ("sntp", "udp", sntp.request(0x1B), [b"\x1c\x02" + bytes(46)], {"version": 3, "mode": 3, "stratum": 2}),
        (
            "sntp",
            "udp",
            sntp.request(),
            [b"\xe4\0" + bytes(10) + b"RATE" + bytes(32)],
            {"version": 4, "mode": 3, "stratum": 0, "kiss": "RATE"},
        ),
        (
            "tftp",
            "udp",
            tftp.request("boot/\xe9"),
            [b"\0\5\0\1no\0"],
            {"packet": "RRQ", "file": "boot/\xe9", "mode": "octet", "answer": "ERROR", "error": 1},
        ),
        ("tftp", "udp", tftp.ack(7), [b"\0\3\0\x08data"], {"packet": "ACK", "block": 7, "answer": "DATA"}),
        ("tftp", "udp", None, [b"\0\6blksize\x001024\0"], {"answer": "OACK"}),
    ],
)
def test_words(
    plugin: str, transport: Transport, request_: bytes | None, answers: list[bytes], words: dict[str, str | int]
) -> None:
    assert HANDLERS[plugin].describe(Exchange(transport, 1, request_, tuple(answers))) == words


def test_dns(tmp_path: Path) -> None:
    (tmp_path / "zone").write_text("@ 60 IN SOA ns host 1 2 3 4 5\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\n")
    handler = of(options(Dns, zones={"example": "zone"}, folder=tmp_path), tmp_path)
    assert handler.describe(Exchange("udp", 53, QUERY, (answer(QUERY),))) == {**WWW, "rcode": "NOERROR"}


SAMPLES = (QUERY, ODD_NAME, TWO, PROBE, HEARD, by_tcp(QUERY), nbns.query(), nbns.status(), nbns.registration(), NOTIFY)
SAMPLES += (ssdp.search(), GET, NOT_FOUND, wsd.probe(), wsd.resolve(), llmnr.query(), coap.get("/a?b"))
SAMPLES += (sntp.request(), bytes(48), tftp.request(), tftp.ack(1), b"\0\5\0\1no\0")


@given(
    st.sampled_from(sorted(HANDLERS)),
    st.sampled_from(("udp", "tcp")),
    st.none() | hostile(*SAMPLES),
    st.lists(hostile(*SAMPLES), max_size=2),
)
def test_no_bytes_make_it_fail(plugin: str, transport: Transport, request: bytes | None, answers: list[bytes]) -> None:
    if not request and not any(answers):
        return  # there is nothing to describe
    try:
        found = HANDLERS[plugin].describe(Exchange(transport, 1, request, tuple(answers)))
    except PeerError:
        return
    assert len(found) <= 8

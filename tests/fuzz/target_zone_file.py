"""Zone files: each is loaded, or told to be wrong by file and line; nothing else is raised, no other file is read."""

from __future__ import annotations

import tempfile
from pathlib import Path

import dns.name
import dns.rdatatype
from responder_plugins.dns.zone.master_file import load

from responder import ConfigError, Context
from responder.errors import ConfigErrors

ORIGIN = dns.name.from_text("example.test.")
HEAD = b"$ORIGIN example.test.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 300\n@ NS ns\nns A 192.0.2.1\n"
SEEDS = (
    HEAD,
    HEAD + b'www 60 IN A 192.0.2.2\n\tAAAA 2001:db8::2\n* MX 10 mail\nmail TXT "a b" ( c\n d ) ; comment\n',
    HEAD + b"$GENERATE 1-5/2 host${0,3,d} A 192.0.2.$\n$ORIGIN sub.example.test.\na\\.b\\032c CNAME @\n",
    HEAD + b"_s._tcp SRV 1 2 53 ns\nsvc SVCB 1 . alpn=h2,h3 port=853 ipv4hint=192.0.2.3\nu TYPE731 \\# 3 abcdef\n",
    HEAD + b"d DNAME other.test.\nsub NS ns.sub\nns.sub A 192.0.2.9\nsub DS 1 8 2 " + b"ab" * 32 + b"\n",
    HEAD + b'@ DNSKEY 257 3 8 AwEAAQ==\n@ NSEC a A NS SOA\na CAA 0 issue "ca.test"\nb LOC 51 30 0 N 0 7 0 W 10m\n',
    HEAD + b'$GENERATE 1-2 a$ MX "0 ."\n$GENERATE 1-2 b$ 60 IN TXT "\\"a $\\" b"\na NXT b A NS\nc MB \\# 3 016100\n',
    HEAD + b"a HTTPS 1 . mandatory=ech ech=AA==\nb SVCB 00 ns key5= alpn=h2\nc DSYNC CDS 1 53 ns\n",
    b"$INCLUDE other.zone sub.example.test.\n",
)
WORDS = (
    *(f" {kind.name.replace('_', '-')} ".encode() for kind in dns.rdatatype.RdataType),
    *b"\n$ORIGIN |\n$TTL |\n$INCLUDE |\n$GENERATE 1-2 |${0,3,d}|${-1,1,x}|${0,3,n}| IN | CH |ns.example.test.".split(
        b"|"
    ),
    *rb'@ * ( ) ; " \# \000 \. 1w2d 4294967295 65535 xn-- 192.0.2.1 2001:db8::1 20260101000000 AwEAAQ=='.split(),
    *b"alpn=h2,h3 port=53 no-default-alpn ipv4hint=192.0.2.3 ipv6hint=::1 mandatory= ech= key65535=".split(),
)
_FOLDER = tempfile.TemporaryDirectory()


def answered(data: bytes) -> bytes | None:
    """What the zone's origin is, where it was loaded."""
    folder = Path(_FOLDER.name)
    file = folder / "example.zone"
    file.write_bytes(data)
    context = Context("dns", folder)
    try:
        zone = load(ORIGIN, file, context)
    except (ConfigError, ConfigErrors) as error:
        mistakes = error.errors if isinstance(error, ConfigErrors) else (error,)
        assert mistakes
        assert all(each.file is not None and each.message for each in mistakes), mistakes
        return None
    finally:
        assert all(Path(each).is_relative_to(folder) for each in context.files), context.files
    return zone.origin

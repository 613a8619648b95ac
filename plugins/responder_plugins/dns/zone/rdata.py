"""Rdata from the words of a master file to wire form, and rdata compared as DNS compares it.

Types whose fields are plain are read here, from a table of their fields: those that large zones are made of, and some
that dnspython does not know by name or reads more narrowly than their RFC (dates of RRSIG after 2106).  Whatever this
table can't read is dnspython's, which also says what is wrong.
"""

from __future__ import annotations

import base64
import binascii
import calendar
import functools
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import dns.exception
import dns.ipv4
import dns.ipv6
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer

from ..message import wire
from .words import Malformed, shortened, shown

MNEMONICS: Final = {"EID": 31, "NIMLOC": 32, "NINFO": 56, "RKEY": 57, "TALINK": 58}
"""Types that BIND and NSD know by name and dnspython does not."""

READ_AS: Final = {56: wire.TXT, 57: wire.DNSKEY, 32768: wire.DS}
"""NINFO, RKEY and TA have the fields of others."""

# The fields of a type, one letter each:
#   n  a name            1 2 4  a number of so many bytes     t  a type              d  a date of RRSIG (RFC 4034)
#   s  strings           x      hexadecimal, the rest         b  base64, the rest    h  a hash of NSEC3 (base32hex)
#   z  a salt of NSEC3   m      types, the rest, as the bitmap of NSEC               a  IPv4 6  IPv6
#   o  types, the rest, as the bitmap of NXT               i  64 bits as half an IPv6 address
FIELDS: Final[dict[int, str]] = {
    wire.A: "a",
    wire.NS: "n",
    3: "n",  # MD
    4: "n",  # MF
    wire.CNAME: "n",
    wire.SOA: "nn44444",
    7: "n",  # MB
    8: "n",  # MG
    9: "n",  # MR
    wire.PTR: "n",
    14: "nn",  # MINFO
    wire.MX: "2n",
    wire.TXT: "s",
    17: "nn",  # RP
    18: "2n",  # AFSDB
    21: "2n",  # RT
    wire.SIG: "t114dd2nb",
    wire.AAAA: "6",
    wire.NXT: "no",
    31: "x",  # EID
    32: "x",  # NIMLOC
    wire.SRV: "222n",
    36: "2n",  # KX
    wire.DNAME: "n",
    wire.DS: "211x",
    wire.RRSIG: "t114dd2nb",
    wire.NSEC: "nm",
    wire.DNSKEY: "211b",
    wire.NSEC3: "112zhm",
    wire.NSEC3PARAM: "112z",
    52: "111x",  # TLSA
    53: "111x",  # SMIMEA
    56: "s",  # NINFO
    58: "nn",  # TALINK
    wire.CDS: "211x",
    wire.ZONEMD: "411x",
    wire.CDNSKEY: "211b",
    99: "s",  # SPF
    **dict.fromkeys((104, 106), "2i"),  # NID, L64
}

_DIGESTS: Final = {0: -1, 1: 20, 2: 32, 3: 32, 4: 48}
"""Bytes of a DS record's digest by its type (RFC 3658, 4509, 5933, 6605); 0 is for dnspython to judge (RFC 8078)."""

_ZONE_DIGESTS: Final = {1: 48, 2: 64}

Reader = Callable[[bytes], bytes]
Names = Reader
"""A name as it stands in the file, to wire form.  Raises ValueError or DNSException."""


def to_wire(rdtype: int, words: Sequence[bytes], names: Names) -> bytes:
    """The words of an rdata in wire form; a quoted word begins with its quote.

    Raises ValueError, LookupError or OverflowError where the table can't read them, which is no mistake yet.
    """
    fields = FIELDS[rdtype]
    parts = []
    at = 0
    for field in fields:
        if field in _TYPES:  # there may be none
            parts.append(_TYPES[field](b" ".join(words[at:])))
            at = len(words)
            break
        word = words[at]
        if field == "n":
            parts.append(names(word))
        elif field in "124":
            parts.append(_number(word).to_bytes(int(field)))
        elif field == "s":
            parts += [_string(each) for each in words[at:]]
            at = len(words) - 1
        elif field in _REST:
            parts.append(_REST[field](b" ".join(words[at:])))
            at = len(words) - 1
        else:
            parts.append(_ONE[field](word))
        at += 1
    if at != len(words):
        raise ValueError("too many words")
    rdata = b"".join(parts)
    if rdtype in (wire.DS, wire.CDS) and _DIGESTS.get(rdata[3], len(rdata) - 4) != len(rdata) - 4:
        raise Malformed("a digest of another length than its type's")
    if rdtype == wire.ZONEMD and not _is_digest_of_zone(rdata):
        raise Malformed("a digest of another length than its scheme's")
    return rdata


def _is_digest_of_zone(rdata: bytes) -> bool:
    """RFC 8976 section 2.2: only the scheme SIMPLE has digests of lengths that are known; none is under 12 bytes."""
    scheme, algorithm, size = rdata[4], rdata[5], len(rdata) - 6
    return bool(scheme and algorithm and size >= 12 and (scheme != 1 or _ZONE_DIGESTS.get(algorithm, size) == size))


def _number(word: bytes) -> int:
    if not word.isdigit():
        raise ValueError
    return int(word)


def _string(word: bytes) -> bytes:
    text = unescaped(word[1:] if word[:1] == b'"' else word)
    if len(text) > 255:
        raise ValueError
    return bytes((len(text),)) + text


_OCTETS: Final = {str(number).encode(): bytes((number,)) for number in range(256)}


def _ipv4(word: bytes) -> bytes:
    a, b, c, d = word.split(b".")
    return _OCTETS[a] + _OCTETS[b] + _OCTETS[c] + _OCTETS[d]


def _ipv6(word: bytes) -> bytes:
    try:
        return dns.ipv6.inet_aton(word)
    except dns.exception.SyntaxError as error:
        raise ValueError from error


def _identifier(word: bytes) -> bytes:
    """IPv6's syntax without `::` (RFC 6742 section 2.1), which needs no leading zeros (RFC 4291 section 2.2)."""
    if word.count(b":") != 3 or b"::" in word:
        raise ValueError
    return _ipv6(b"0:0:0:0:" + word)[8:]


@functools.lru_cache(1024)
def _type(word: bytes) -> bytes:
    return type_of(word.decode()).to_bytes(2)


@functools.lru_cache(1024)
def _date(word: bytes) -> bytes:
    """Seconds since 1970 modulo 2**32: serial number arithmetic tells the era (RFC 4034 section 3.1.5)."""
    if len(word) != 14:
        return _number(word).to_bytes(4)
    seconds = calendar.timegm(time.strptime(word.decode(), "%Y%m%d%H%M%S"))
    return (seconds % 2**32).to_bytes(4)


def _salt(word: bytes) -> bytes:
    salt = b"" if word == b"-" else binascii.unhexlify(word)
    return len(salt).to_bytes() + salt


def _hash(word: bytes) -> bytes:
    digest = base64.b32hexdecode(word.upper() + b"=" * (-len(word) % 8))
    return len(digest).to_bytes() + digest


@functools.lru_cache(1024)
def _bitmap(words: bytes) -> bytes:
    return bitmap(type_of(word.decode()) for word in words.split())


def bitmap(rdtypes: Iterable[int]) -> bytes:
    """Types as a bitmap (RFC 4034 section 4.1.2)."""
    windows: dict[int, bytearray] = {}
    for rdtype in rdtypes:
        bits = windows.setdefault(rdtype >> 8, bytearray(32))
        bits[(rdtype & 0xFF) >> 3] |= 0x80 >> (rdtype & 7)
    trimmed = {window: bytes(bits).rstrip(b"\0") for window, bits in sorted(windows.items())}
    return b"".join(bytes((window, len(bits))) + bits for window, bits in trimmed.items())


@functools.lru_cache(1024)
def _old_bitmap(words: bytes) -> bytes:
    """Types as a bitmap (RFC 2535 section 5.2): of 16 bytes at most, for types below 128."""
    bits = bytearray(16)
    for word in words.split():
        rdtype = type_of(word.decode())
        if rdtype >= len(bits) * 8:
            raise Malformed(f"{shortened(word.decode())}: no type above 127 can stand there (RFC 2535 section 5.2)")
        bits[rdtype >> 3] |= 0x80 >> (rdtype & 7)
    return bytes(bits).rstrip(b"\0")


def _base64(words: bytes) -> bytes:
    return binascii.a2b_base64(words.replace(b" ", b""), strict_mode=True)


def _hexadecimal(words: bytes) -> bytes:
    return binascii.unhexlify(words.replace(b" ", b""))


_ONE: Final[dict[str, Callable[[bytes], bytes]]] = {
    "a": _ipv4,
    "6": _ipv6,
    "t": _type,
    "d": _date,
    "z": _salt,
    "h": _hash,
    "i": _identifier,
}
_TYPES: Final[dict[str, Callable[[bytes], bytes]]] = {"m": _bitmap, "o": _old_bitmap}
_REST: Final[dict[str, Callable[[bytes], bytes]]] = {"x": _hexadecimal, "b": _base64}

_ESCAPE: Final = re.compile(rb"\\([0-9]{3}|.)", re.DOTALL)


def unescaped(word: bytes) -> bytes:
    r"""The bytes of a word: \DDD is one of that value, \X is X (RFC 1035 section 5.1).  Raises ValueError."""
    if b"\\" not in word:
        return word
    return _ESCAPE.sub(lambda found: bytes((int(found[1]),)) if len(found[1]) == 3 else found[1], word)


def type_of(word: str) -> int:
    """A type by its name.  Raises ValueError where there is none, or none that holds data."""
    number = MNEMONICS.get(word.upper())
    if number is not None:
        return number
    try:
        rdtype = dns.rdatatype.from_text(word)
    except (dns.rdatatype.UnknownRdatatype, ValueError):
        raise Malformed(f"unknown type {shown(word)}") from None
    if dns.rdatatype.is_metatype(rdtype):
        raise Malformed(f"{shortened(word)} is no type of data")
    return int(rdtype)


_IN_WORDS: Final = {
    "n": "a name",
    "1": "a number (0..255)",
    "2": "a number (0..65535)",
    "4": "a number (0..4294967295)",
    "t": "a type",
    "d": "a date as YYYYMMDDHHMMSS",
    "s": "strings of at most 255 bytes",
    "x": "hexadecimal digits",
    "b": "base64",
    "h": "a hash in base32",
    "z": "a salt in hexadecimal digits or -",
    "m": "types",
    "o": "types below 128",
    "a": "an IPv4 address",
    "6": "an IPv6 address",
    "i": "four groups such as 14:4fff:ff20:ee64",
}


def expectation(rdtype: int, text: str) -> str:
    """What the data of a type should be, where `text` is something else."""
    if rdtype not in FIELDS:
        return f"{shown(text)} can't be read as data of this type"
    *first, last = (_IN_WORDS[field] for field in FIELDS[rdtype])
    return f"expected {', '.join(first)}{' and ' if first else ''}{last}, got {shown(text)}"


GENERIC: Final = rb"\#"
"""What the generic form of an rdata begins with (RFC 3597 section 5)."""


def is_ours_alone(rdtype: int) -> bool:
    """A type that only the table of fields has: to dnspython its rdata is any bytes."""
    if rdtype not in FIELDS:
        return False
    kind = dns.rdatatype.RdataType.make(READ_AS.get(rdtype, rdtype))
    rdata_class = dns.rdata.get_rdata_class(dns.rdataclass.IN, kind)  # type: ignore[no-untyped-call] # it has no types
    return rdata_class is dns.rdata.GenericRdata


def by_dnspython(rdtype: int, text: str, origin: dns.name.Name) -> bytes:
    """The rest of a record's line in wire form.  Raises DNSException, and what else dnspython raises."""
    kind = dns.rdatatype.RdataType.make(READ_AS.get(rdtype, rdtype))
    tokens = dns.tokenizer.Tokenizer(text)
    rdata = dns.rdata.from_text(dns.rdataclass.IN, kind, tokens, origin, relativize=False)
    data = rdata.to_wire() or b""  # None only where it was written into a file
    if is_ours_alone(rdtype):
        _check(rdtype, data)
    return data


def checked(rdtype: int, rdata: bytes) -> bytes:
    """Rdata that came in a message, as a zone may have it: names in full.  Raises ValueError for other fields."""
    if not rdata and rdtype not in (_NULL, _APL):
        raise Malformed("the data is empty")
    kind = dns.rdatatype.RdataType.make(READ_AS.get(rdtype, rdtype))
    try:
        data = dns.rdata.from_wire(dns.rdataclass.IN, kind, rdata, 0, len(rdata)).to_wire() or b""
    except Exception as error:  # dnspython raises what its parsers meet
        raise Malformed("the data has not the fields of its type") from error
    if is_ours_alone(rdtype):
        _check(rdtype, data)
    return data


def _check(rdtype: int, rdata: bytes) -> None:
    """Raises ValueError where rdata in the generic form has not the fields of a type that is ours alone."""
    at = 0
    for field in FIELDS[rdtype]:
        if field == "n":
            try:
                at += dns.name.from_wire(rdata[at:], 0)[1]
            except dns.exception.DNSException:
                raise Malformed("the data is cut off, or no name") from None
        elif field == "o" and not _is_old_bitmap(rdata[at:]):
            raise Malformed("the data has no bitmap of types (RFC 2535 section 5.2)")
        else:  # the rest of the data
            at = len(rdata)
    if at != len(rdata):
        raise Malformed(f"{len(rdata) - at} bytes behind the last field")


def _is_old_bitmap(bits: bytes) -> bool:
    """RFC 2535 section 5.2: type 0 is another form's, and no byte of zero ends it."""
    return len(bits) <= 16 and bits[:1] < b"\x80" and not bits.endswith(b"\0")


# Comparing

_NAMES: Final = {
    **dict.fromkeys((wire.NS, 3, 4, wire.CNAME, 7, 8, 9, wire.PTR, 23, wire.DNAME, wire.NXT, wire.NSEC), (0, 1)),
    **dict.fromkeys((wire.SOA, 14, 17, 58), (0, 2)),
    **dict.fromkeys((wire.MX, 18, 21, 36, wire.SVCB, wire.HTTPS, 107), (2, 1)),
    wire.SRV: (6, 1),
    66: (5, 1),
    wire.SIG: (18, 1),
    wire.RRSIG: (18, 1),
    26: (2, 2),
}
"""Types with names in their rdata: bytes in front of them, and how many names.

23 is NSAP-PTR, 26 PX, 66 DSYNC, 107 LP.
"""

_NULL, _APL = 10, 42
"""Types whose data may be empty."""

_NAPTR, _IPSECKEY, _HIP, _AMTRELAY = 35, 45, 55, 260
_GATEWAY_NAME: Final = 3


def folded(rdtype: int, rdata: bytes) -> bytes:
    """The rdata with its names in lower case: two that are equal then are one record (RFC 4343 section 3)."""
    place = _NAMES.get(rdtype)
    if place is not None:
        at, count = place
    elif rdtype == _NAPTR:  # RFC 3403 section 4.1: two numbers and three strings
        at, count = 4, 1
        for _ in range(3):
            at += rdata[at] + 1
    elif (rdtype == _IPSECKEY and rdata[1] == _GATEWAY_NAME) or (
        rdtype == _AMTRELAY and rdata[1] & 0x7F == _GATEWAY_NAME
    ):
        at, count = 3 if rdtype == _IPSECKEY else 2, 1  # RFC 4025 section 2.1, RFC 8777 section 4.2
    elif rdtype == _HIP:  # RFC 8005 section 5: what is behind the key are names
        at = 4 + rdata[0] + int.from_bytes(rdata[2:4])
        return rdata[:at] + rdata[at:].lower()
    else:
        return rdata
    end = at
    for _ in range(count):
        end = wire.name_end(rdata, end)
    return rdata[:at] + rdata[at:end].lower() + rdata[end:]

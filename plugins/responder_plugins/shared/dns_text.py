"""DNS names as text, as RFC 6763 section 4.3 has them, and what an exchange of DNS messages says in words.

Labels are shown as UTF-8 (RFC 6762 section 16), dots and backslashes within them with a backslash before; bytes that
are no UTF-8, or not printable, as `\\255`.
"""

from __future__ import annotations

from typing import Final

from responder import Exchange

from . import dns_message as dns
from .dns_message import Malformed, Message, Question, Record, labels

LONGEST: Final = 4096
"""Bytes of an answer that is read to tell its rcode: of a longer one, such as a transfer's, the header has to do."""


def to_text(name: bytes) -> str:
    """A name as text, without a dot at its end."""
    return ".".join(map(label_to_text, labels(name)))


def label_to_text(label: bytes) -> str:
    """A label as it stands in a name's text."""
    shown = []
    for character in label.decode(errors="surrogateescape"):
        if character in ".\\":
            shown.append("\\" + character)
        elif "\udc80" <= character <= "\udcff":
            shown.append(f"\\{ord(character) - 0xDC00:03d}")
        elif not character.isprintable():
            shown += [f"\\{byte:03d}" for byte in character.encode()]
        else:
            shown.append(character)
    return "".join(shown)


def describe(exchange: Exchange) -> dict[str, str | int]:
    """The name and type that it is about, how many questions there are where not one, and the answer's rcode.

    By TCP each message has its length in front (RFC 7766 section 8); of several the first is told.
    """
    asked = _read(_message(exchange, exchange.request))
    data = _message(exchange, exchange.answers[0]) if exchange.answers else b""
    answer = _read(data)
    words: dict[str, str | int] = {}
    about = asked or answer
    if about is not None:
        words = about_words(about)
    if len(data) >= dns.HEADER.size:
        words["rcode"] = _rcode(data, answer)
    return words


def about_words(message: Message) -> dict[str, str | int]:
    """What the first question is about, or, where there is none, the first record."""
    from dns import rdatatype  # noqa: PLC0415 - for those who watch alone: whoami is to answer at once after its start

    entries: list[Question | Record] = [*message.questions[:1], *message.answers[:1], *message.authorities[:1]]
    if not entries:
        return {}
    kind = rdatatype.RdataType.make(entries[0].rdtype)
    words: dict[str, str | int] = {"name": f"{to_text(entries[0].name)}.", "type": rdatatype.to_text(kind)}
    if len(message.questions) > 1:
        words["questions"] = len(message.questions)
    return words


def _message(exchange: Exchange, data: bytes | None) -> bytes:
    if not data or exchange.transport == "udp":
        return data or b""
    return data[2 : 2 + int.from_bytes(data[:2])]


def _read(data: bytes) -> Message | None:
    try:
        return dns.read(data) if dns.HEADER.size <= len(data) <= LONGEST else None
    except Malformed:
        return None


def _rcode(data: bytes, message: Message | None) -> str:
    """OPT has the upper bits (RFC 6891 section 6.1.3)."""
    from dns import rcode  # noqa: PLC0415 - as above

    number = data[3] & dns.RCODE
    opts = [] if message is None else [each for each in message.additionals if each.rdtype == dns.OPT]
    if opts:
        number |= opts[0].ttl >> 24 << 4
    return rcode.to_text(rcode.Rcode.make(number))

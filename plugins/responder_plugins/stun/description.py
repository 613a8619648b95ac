"""What was asked and told, in STUN's own words, for people who watch."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from responder import Exchange, Peer

from .message import CHANGE_IP, CHANGE_PORT, COOKIE, HEADER_BYTES, Attribute, Message, Type, read_message

NAMES: Final[Mapping[int, str]] = {
    Type.REQUEST: "Binding request",
    Type.INDICATION: "Binding indication",
    Type.SUCCESS: "Binding success response",
    Type.ERROR: "Binding error response",
}

CHANGES: Final = {CHANGE_IP: "IP", CHANGE_PORT: "port", CHANGE_IP | CHANGE_PORT: "IP and port"}


def describe(exchange: Exchange) -> Mapping[str, str | int]:
    """Raises PeerError for what is no STUN message."""
    words: dict[str, str | int] = {}
    if exchange.request is not None:
        request = read_message(_first(exchange.request))
        words["type"] = NAMES.get(request.type, f"{request.type:#06x}")
        if request.change:
            words["change"] = CHANGES[request.change]
        software = request.attributes.get(Attribute.SOFTWARE)
        if software:
            words["software"] = software.decode(errors="replace")
    if exchange.answers:
        answer = read_message(_first(exchange.answers[0]))
        code = answer.attributes.get(Attribute.ERROR_CODE)
        if code is not None and len(code) >= 4:
            words["error"] = 100 * code[2] + code[3]
        words |= _mapped(answer)
    return words


def _first(data: bytes) -> bytes:
    """The first message of those that a connection carried; a datagram is one."""
    return data[: HEADER_BYTES + int.from_bytes(data[2:4])] if len(data) > HEADER_BYTES else data


def _mapped(answer: Message) -> Mapping[str, str]:
    """The address and port that the client was told to have."""
    value = answer.attributes.get(Attribute.XOR_MAPPED_ADDRESS)
    mask = 0
    if value is not None:
        mask = COOKIE >> 16
    else:
        value = answer.attributes.get(Attribute.MAPPED_ADDRESS, b"")
    if len(value) not in (8, 20):
        return {}
    port = int.from_bytes(value[2:4]) ^ mask
    key = answer.transaction[: len(value) - 4] if mask else bytes(len(value) - 4)
    address = ip_address(bytes(one ^ other for one, other in zip(value[4:], key, strict=True)))
    return {"mapped": str(Peer(address, port))}

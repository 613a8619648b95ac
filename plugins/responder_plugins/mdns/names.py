"""Names of mDNS and DNS-SD: text <-> wire form, where reverse names are, and what a taken name is changed to.

As text, names are as `shared.dns_text` has them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from responder import IPAddress
from responder_plugins.shared.dns_message import MAX_LABEL, to_name

LOCAL: Final = b"local"

SERVICE_TYPES: Final = to_name([b"_services", b"_dns-sd", b"_udp", LOCAL])
"""What lists the types that there are on a link (RFC 6763 section 9)."""


def composed(text: str) -> str:
    """The text in the one form that mDNS has for it, NFC (RFC 6762 section 16, RFC 5198)."""
    return unicodedata.normalize("NFC", text)


def from_text(text: str) -> bytes:
    """The name that a text stands for; a dot at its end changes nothing.  Raises ValueError."""
    found: list[bytearray] = [bytearray()]
    rest = iter(text.removesuffix(".") if not text.endswith("\\.") else text)
    for character in rest:
        if character == ".":
            found.append(bytearray())
        elif character == "\\":
            found[-1] += _escaped(next(rest, ""), rest)
        else:
            found[-1] += character.encode()
    return to_name(bytes(label) for label in found)


def _escaped(first: str, rest: Iterator[str]) -> bytes:
    if not first:
        raise ValueError("a backslash at the end of a name")
    if first not in "0123456789":
        return first.encode()
    digits = first + "".join(islice(rest, 2))
    if len(digits) != 3 or not digits.isdecimal() or int(digits) > 255:
        raise ValueError(f"\\{digits} in a name: expected a byte as three digits")
    return bytes([int(digits)])


def local(*parts: str | bytes) -> bytes:
    """A name in `local` from its labels.  Raises ValueError."""
    return to_name([part.encode() if isinstance(part, str) else part for part in parts] + [LOCAL])


def type_labels(type_: str) -> Sequence[str]:
    """`_http._tcp` -> its labels."""
    return type_.split(".")


def reverse(address: IPAddress) -> bytes:
    """The name at which the address's PTR record is (RFC 1035 section 3.5, RFC 3596 section 2.5)."""
    return to_name(label.encode() for label in address.reverse_pointer.split("."))


def numbered_host(label: str, number: int) -> str:
    """The name that a host takes when it is the `number`th of its name: `lab`, `lab-2`, `lab-3`."""
    return label if number == 1 else _with_suffix(label, f"-{number}")


def numbered_instance(label: str, number: int) -> str:
    """The same for a service's name, where people read it: `Lab page (2)` (RFC 6763 appendix D)."""
    return label if number == 1 else _with_suffix(label, f" ({number})")


def _with_suffix(label: str, suffix: str) -> str:
    """Cut so that all of it is a label; no character is cut in two."""
    room = MAX_LABEL - len(suffix.encode())
    return label.encode()[:room].decode(errors="ignore") + suffix

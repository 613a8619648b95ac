"""The tables among the options of `Dns`, one class each.  Imports no dnspython, as `Dns` itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import attrs

TLS: Final = "tls"
HTTPS: Final = "https"
"""The services that `Tls` switches on, by name."""


def _are_there(_instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    if not value:
        raise ValueError(f"{attribute.name}: expected at least one of {TLS}, {HTTPS}")


@attrs.frozen
class Tls:
    """DNS within TLS.

    certificate  a PEM file: the server's certificate first, then those that lead to an authority
    key          a PEM file: its private key, not encrypted
    serve        "tls": over TLS, on port 853; "https": over HTTPS at `/dns-query`, on port 443
    """

    certificate: Path
    key: Path
    serve: tuple[Literal["tls", "https"], ...] = attrs.field(default=(TLS, HTTPS), validator=_are_there)

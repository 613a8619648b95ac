"""SNTP: tells the time of this host's clock (see README.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import attrs

from responder import Plugin, Secret, Service

if TYPE_CHECKING:
    from responder import Context, Handler

__all__ = ["Sntp"]

KEY_BYTES: Final = 16
"""RFC 8573 section 2: AES-CMAC with a key of 128 bits."""


def _is_stratum(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    # 0 and 16 say that there is no time to tell (RFC 5905 figure 11).
    if not 1 <= value <= 15:
        raise ValueError(f"{attribute.name}: expected a stratum (1..15), got {value}")


def _are_keys(_instance: object, attribute: attrs.Attribute[Any], value: dict[str, Secret]) -> None:
    for name, secret in value.items():
        if not (name.isascii() and name.isdecimal() and name == str(int(name)) and 1 <= int(name) < 1 << 32):
            raise ValueError(f"{attribute.name}: expected the number of a key (1..4294967295), got {name!r}")
        try:
            size = len(bytes.fromhex(secret))
        except ValueError:
            size = 0
        if size != KEY_BYTES:
            raise ValueError(f"{attribute.name}.{name}: expected {2 * KEY_BYTES} hexadecimal digits")


@attrs.frozen
class Sntp(Plugin):
    """Tells the time of this host's clock (RFC 5905, RFC 4330).

    stratum  what it claims to be while it trusts the clock
    trust    "kernel": only while the kernel says that the clock is synchronised; "always": whatever the kernel says
    keys     key number -> AES-128 key as hexadecimal digits; a request with a MAC of one of them gets one
    """

    stratum: int = attrs.field(default=10, validator=_is_stratum)
    trust: Literal["kernel", "always"] = "kernel"
    keys: dict[str, Secret] = attrs.field(factory=dict, validator=_are_keys)

    services: ClassVar[tuple[Service, ...]] = (
        Service(port=123, groups=["224.0.1.1", "ff05::101"]),  # the groups of manycast clients
    )

    def prepare(self, context: Context) -> Handler:
        """The handler.  Raises ConfigError for keys without the package that they need."""
        from .handler import SntpHandler  # noqa: PLC0415 - a command that only lists plugins need not pay for it

        return SntpHandler.of(self, context)

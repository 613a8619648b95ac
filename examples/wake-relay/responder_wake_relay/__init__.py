"""Wake-on-LAN across links (see README.md): the options; what is done with them stands in `handler`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import attrs
from responder import Context, Duration, Handler, Plugin, Service

from .handler import ALL_NODES, Relay
from .wire import to_address

__all__ = ["WakeRelay"]


def _to_addresses(texts: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(map(to_address, texts))


def _to_password(text: str | None) -> bytes:
    return to_address(text) if text else b""


@attrs.frozen
class WakeRelay(Plugin):
    """Repeats Wake-on-LAN packets on other links."""

    # Converters make bytes of the config's strings; what they raise is told with the option's path.
    onto: tuple[str, ...] = attrs.field(validator=attrs.validators.min_len(1))
    machines: tuple[bytes, ...] = attrs.field(default=(), converter=_to_addresses)
    password: bytes = attrs.field(default=None, converter=_to_password)
    repeat: int = attrs.field(default=3, validator=(attrs.validators.ge(1), attrs.validators.le(100)))
    pause: Duration = 0.1
    hold: Duration = 5.0
    wake_on_up: tuple[bytes, ...] = attrs.field(default=(), converter=_to_addresses)

    services: ClassVar[tuple[Service, ...]] = (Service(port=9, groups=(ALL_NODES,), on_link=True, rate=20),)

    def prepare(self, context: Context) -> Handler:
        return Relay(self)

"""Dns: an authoritative server that answers by arrival interface (see README.md).

The class stands here, what it needs in the other files, because those import dnspython: a command that only lists
plugins need not pay for it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from responder import Duration, IPNetwork, Plugin, Secret, Service, Size

from .options import HTTPS, TLS, Etcd, PrimaryTls, Secondary, Sign, Tls, Update, in_range

if TYPE_CHECKING:
    from responder import Context, Handler

__all__ = ["Dns", "Etcd", "PrimaryTls", "Secondary", "Sign", "Tls", "TransferKey", "Update"]


def _is_text(_instance: object, attribute: attrs.Attribute[str | None], value: str | None) -> None:
    """A character string of a TXT record (RFC 1035 section 3.3)."""
    if value is not None and not 0 < len(value.encode()) <= 255:
        raise ValueError(f"{attribute.name}: expected a text of 1 to 255 bytes")


def _secrets(texts: Iterable[str]) -> tuple[Secret, ...]:
    return tuple(map(Secret, texts))


def _are_secrets(_instance: object, attribute: attrs.Attribute[tuple[Secret, ...]], value: tuple[Secret, ...]) -> None:
    for secret in value:
        try:
            right = len(bytes.fromhex(secret)) == 16
        except ValueError:
            right = False
        if not right:
            raise ValueError(f"{attribute.name}: expected 32 hexadecimal digits each")


def _is_base64(_instance: object, attribute: attrs.Attribute[Secret], value: Secret) -> None:
    try:
        secret = base64.b64decode(value, validate=True)
    except binascii.Error:
        secret = b""
    if not secret:
        raise ValueError(f"{attribute.name}: expected base64")


@attrs.frozen
class TransferKey:
    """A TSIG key (RFC 8945).

    secret     in base64
    algorithm  by which messages are signed with it
    """

    secret: Secret = attrs.field(converter=Secret, validator=_is_base64)
    algorithm: Literal["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] = "hmac-sha256"


@attrs.frozen(kw_only=True)
class Dns(Plugin):
    """Serves zones from master files, and names that mean this host as the client reaches it.

    zones                 master files by the name of the zone
    watch                 look at the zone files every two seconds, beside every reload
    include_anywhere      `$INCLUDE` may name files outside the folder of the zone file
    here                  names whose A and AAAA records are the address that was asked, and that its PTR record tells
    here_addresses        "asked": that address; "interface": all addresses of the arrival interface
    here_ttl              how long those may be remembered, in whole seconds
    allow_transfer        prefixes of those who may take zones over (AXFR, IXFR)
    transfer_keys         TSIG keys by name, whose owners may as well
    notify                the zones of whose changes other servers are told (NOTIFY), and the addresses of some of them
    update                the zones that take dynamic updates (RFC 2136), each with whose
    sign                  the zones that are signed here, each with how
    secondary             zones that are taken from other servers, each with its primaries
    catalog               a catalog zone (RFC 9432) that is made here, and lists all zones of the instance
    edns_size             the largest UDP answer
    cookies               answer DNS cookies
    cookie_secrets        for servers that share a name: 32 hexadecimal digits each, the first for new cookies
    rate_limit            equal answers a second to a prefix (/24, /56); 0: no bound
    rate_limit_all        answers of any kind a second to a prefix; by default ten times as many; 0: no bound
    slip                  each so many answers beyond, one empty answer that sends the client to TCP; 0: none
    version               what `version.bind` in class CHAOS says
    identity              what `hostname.bind` and `id.server` say, and NSID
    idle_timeout          the time within which a TCP client must ask again and take its answer
    connection_time       the time in which a TCP connection may ask
    etcd                  zones whose records are in etcd, as CoreDNS reads and external-dns writes them
    tls                   what DNS over TLS and HTTPS are served with; without it they are not
    """

    zones: dict[str, Path] = attrs.field(factory=dict)
    watch: bool = False
    include_anywhere: bool = False
    here: tuple[str, ...] = attrs.field(default=(), metadata={"example": ["server.example.test"]})
    here_addresses: Literal["asked", "interface"] = "asked"
    here_ttl: Duration = attrs.field(default=10, validator=in_range(0, 86400))
    allow_transfer: tuple[IPNetwork, ...] = ()
    transfer_keys: dict[str, TransferKey] = attrs.field(factory=dict)
    notify: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    update: dict[str, Update] = attrs.field(factory=dict)
    sign: dict[str, Sign] = attrs.field(factory=dict)
    secondary: dict[str, Secondary] = attrs.field(factory=dict)
    catalog: str | None = None
    edns_size: Size = attrs.field(default=1232, validator=in_range(512, 65507))
    cookies: bool = True
    cookie_secrets: tuple[Secret, ...] = attrs.field(default=(), converter=_secrets, validator=_are_secrets)
    rate_limit: float = attrs.field(default=0.0, validator=in_range(0, 1e9))
    rate_limit_all: float | None = attrs.field(default=None, validator=attrs.validators.optional(in_range(0, 1e9)))
    slip: int = attrs.field(default=2, validator=in_range(0, 100))
    version: str | None = attrs.field(default=None, validator=_is_text)
    identity: str | None = attrs.field(default=None, validator=_is_text)
    idle_timeout: Duration = attrs.field(default=10.0, validator=in_range(0.1, 3600))
    connection_time: Duration = attrs.field(default=300.0, validator=in_range(0.1, 86400))
    etcd: Etcd | None = None
    tls: Tls | None = None

    services: ClassVar[tuple[Service, ...]] = (
        Service(port=53, tcp=True, connections_per_peer=10),
        Service(name=TLS, port=853, udp=False, tcp=True, may_pass=False, connections_per_peer=10),
        Service(name=HTTPS, port=443, udp=False, tcp=True, may_pass=False, connections_per_peer=10),
    )
    in_each_worker: ClassVar[bool] = True  # its `run` looks at files and logs, each process for itself

    def chosen_services(self) -> tuple[Service, ...]:
        """Those within TLS only where `tls` asks for them."""
        served = () if self.tls is None else self.tls.serve
        return tuple(service for service in self.services if service.name in ("default", *served))

    def prepare(self, context: Context) -> Handler:
        """The handler with its zones read; a zone that can't be read is told, and answered with SERVFAIL."""
        from .preparation import prepare  # noqa: PLC0415 - see the module's docstring

        return prepare(self, context)

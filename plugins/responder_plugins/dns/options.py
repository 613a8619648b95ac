"""The tables among the options of `Dns`, one class each.  Imports no dnspython, as `Dns` itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import attrs

from responder import Duration, IPNetwork, Secret

TLS: Final = "tls"
HTTPS: Final = "https"
"""The services that `Tls` switches on, by name."""

_DAY: Final = 86400.0

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
"""A key that TOML lets stand without quotes."""


def key_path(table: str, key: str) -> str:
    """How messages name the key of a table, as the framework's do: `zones."example.test"`."""
    return f"{table}.{key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)}"


def in_range(low: float, high: float) -> Callable[[object, Any, float], None]:
    def check(_instance: object, attribute: Any, value: float) -> None:
        if not low <= value <= high:
            raise ValueError(f"{attribute.name}: expected {low} to {high}, got {value}")

    return check


def _are_there(_instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    if not value:
        raise ValueError(f"{attribute.name}: expected at least one of {TLS}, {HTTPS}")


@attrs.frozen
class Update:
    """Who may change a zone by dynamic updates (RFC 2136).

    keys   of `transfer_keys`, by name: updates that are signed with one of them
    allow  prefixes: updates from there that are not signed
    names  what may be updated: a name, or `*.` and a name for all that are below it; by default all of the zone
    """

    keys: tuple[str, ...] = attrs.field(default=(), metadata={"example": ["update.example.test"]})
    allow: tuple[IPNetwork, ...] = ()
    names: tuple[str, ...] = attrs.field(default=(), metadata={"example": ["*.dyn.example.test"]})


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


def _are_endpoints(_instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    if not value:
        raise ValueError(f"{attribute.name}: expected at least one")
    for each in value:
        try:
            found = urlsplit(each)
            right = found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0
        except ValueError:
            right = False
        if not right or "@" in found.netloc or found.path not in ("", "/") or found.query or found.fragment:
            raise ValueError(f"{attribute.name}: expected a URL such as http://127.0.0.1:2379, got {each!r}")


def _is_path(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if not value.startswith("/") or value.rstrip("/") == "" or "//" in value:
        raise ValueError(f"{attribute.name}: expected a path such as /skydns, got {value!r}")


@attrs.frozen(kw_only=True)
class Etcd:
    """Zones whose records are in etcd.

    endpoints    URLs of its servers, asked in this order
    path         what the keys begin with
    zones        the zones, reverse ones too
    ca           a PEM file: the authorities that vouch for the endpoints; None: the system's
    certificate  a PEM file: the client's certificate, where the endpoints want one
    key          a PEM file: its private key, not encrypted
    user         who asks, where etcd has users
    password     of the user
    stale        for how long the last known answers are served while etcd is away
    """

    endpoints: tuple[str, ...] = attrs.field(default=("http://127.0.0.1:2379",), validator=_are_endpoints)
    path: str = attrs.field(default="/skydns", validator=_is_path)
    zones: tuple[str, ...] = attrs.field(metadata={"example": ["cluster.test", "2.0.192.in-addr.arpa"]})
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str | None = None
    password: Secret | None = attrs.field(default=None, converter=attrs.converters.optional(Secret), repr=False)
    stale: Duration = attrs.field(default=_DAY, validator=in_range(1, 365 * _DAY))

    def __attrs_post_init__(self) -> None:
        for one, other in (("certificate", "key"), ("key", "certificate"), ("user", "password"), ("password", "user")):
            if getattr(self, one) is not None and getattr(self, other) is None:
                raise ValueError(f"{one}: not without {other}")


def _fits_nsec3(sign: Sign, _attribute: object, value: bool) -> None:
    if value and sign.denial != "nsec3":
        raise ValueError('opt_out: only NSEC3 records can leave out delegations (denial = "nsec3")')


def _fits_rollover(sign: Sign, attribute: attrs.Attribute[float], value: float) -> None:
    if 0 < value <= sign.dnskey_ttl + sign.propagation:
        raise ValueError(f"{attribute.name}: expected 0, or more than dnskey_ttl and propagation together")


def _fits_lifetime(sign: Sign, _attribute: object, value: float) -> None:
    if value + sign.signature_jitter >= sign.signature_lifetime:
        raise ValueError("signature_refresh: with signature_jitter it leaves nothing of signature_lifetime")


@attrs.frozen(kw_only=True)
class Sign:
    """How a zone is signed here (DNSSEC), which needs `responderd[dnssec]`.

    keys                a folder: the zone's keys, which are made there where there are none
    denial              how names are denied: "nsec" or "nsec3"
    opt_out             NSEC3 records leave out delegations without DS records
    algorithm           of the keys
    csk                 one key for all; false: a KSK and a ZSK
    key_lifetime        after which a CSK or ZSK gives way to a new one; 0: never by itself
    ksk_lifetime        the same for a KSK
    dnskey_ttl          the TTL of DNSKEY, CDS and CDNSKEY records
    propagation         the time in which all servers of the zone have a new version
    parent_ds_ttl       the TTL of the DS record at the parent
    parent_delay        the time in which all servers of the parent have its new DS record
    cds                 what the parent is asked for by CDS and CDNSKEY records: "always" the DS record of the key that
                        is ready, "delete" none, so that the zone can be unsigned, "none": nothing
    signature_lifetime  after which a signature ends
    signature_refresh   how long before its end a signature is replaced
    signature_jitter    up to so much earlier a signature ends, so that not all end at once
    """

    keys: Path
    denial: Literal["nsec", "nsec3"] = "nsec"
    opt_out: bool = attrs.field(default=False, validator=_fits_nsec3)
    algorithm: Literal["ECDSAP256SHA256", "ECDSAP384SHA384", "ED25519", "RSASHA256"] = "ECDSAP256SHA256"
    csk: bool = True
    key_lifetime: Duration = attrs.field(default=0.0, validator=_fits_rollover)
    ksk_lifetime: Duration = attrs.field(default=0.0, validator=_fits_rollover)
    dnskey_ttl: Duration = attrs.field(default=3600.0, validator=in_range(1, 7 * _DAY))
    propagation: Duration = 3600.0
    parent_ds_ttl: Duration = _DAY
    parent_delay: Duration = 3600.0
    cds: Literal["always", "delete", "none"] = "always"
    signature_lifetime: Duration = attrs.field(default=14 * _DAY, validator=in_range(1, 365 * _DAY))
    signature_refresh: Duration = attrs.field(default=5 * _DAY, validator=_fits_lifetime)
    signature_jitter: Duration = _DAY / 2


@attrs.frozen(kw_only=True)
class PrimaryTls:
    """How primaries are asked within TLS (RFC 9103).

    names          what their certificates must be of: one name for all, or one for each of `primaries` in their order
    ca             a PEM file: the authorities that vouch for them, or their own certificates; None: the system's
    certificate    a PEM file: our own certificate, where they want one
    key            a PEM file: its private key, not encrypted
    opportunistic  encrypt, and believe whoever answers
    """

    names: tuple[str, ...] = attrs.field(default=(), metadata={"example": ["ns1.example.test"]})
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    opportunistic: bool = False

    def __attrs_post_init__(self) -> None:
        if self.opportunistic and (self.names or self.ca is not None):
            raise ValueError("opportunistic: not with names or ca, which say who is to be believed")
        if not (self.opportunistic or self.names or self.ca is not None):
            raise ValueError("expected names, or ca, to know the primaries by; or opportunistic = true")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate, key: neither without the other")


@attrs.frozen(kw_only=True)
class Secondary:
    """A zone that is taken from other servers (IXFR, AXFR), and kept in the state folder.

    primaries  addresses of the servers that have it, asked in this order
    key        the one of transfer_keys that signs what they are asked
    catalog    it is a catalog zone (RFC 9432): its members are taken from the same servers, in the same way
    tls        they are asked within TLS, on port 853
    """

    primaries: tuple[str, ...]
    key: str | None = None
    catalog: bool = False
    tls: PrimaryTls | None = None

    def __attrs_post_init__(self) -> None:
        if self.tls is not None and len(self.tls.names) not in (0, 1, len(self.primaries)):
            raise ValueError("tls.names: expected one name, or one for each of primaries")

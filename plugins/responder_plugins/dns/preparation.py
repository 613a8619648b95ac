"""Makes the handler of an instance from its options: reads names and keys, and has the zones read."""

from __future__ import annotations

import base64
import importlib.util
import ssl
import time
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from functools import partial
from itertools import cycle, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import dns.exception
import dns.name
import dns.tsig

from responder import ConfigError, ConfigErrors, Context, Peer

from .answer.cookies import Cookies
from .answer.host_names import HostNames
from .answer.processor import QueryProcessor, Settings
from .answer.rate_limit import RateLimit
from .encrypted import certificate, client
from .encrypted.tls import TlsServer
from .handler import DnsHandler
from .message import wire
from .options import HTTPS, TLS, Etcd, PrimaryTls, Tls, key_path
from .secondary.kept import Source
from .secondary.lister import Lister, lists_of
from .secondary.secondaries import Secondaries
from .tcp import TcpServer
from .transfer.notify import Notifier
from .transfer.primary import Primary
from .transfer.servers import PORT, TLS_PORT, server_of
from .transfer.tsig import Keyring
from .transfer.update import Pattern, Policy, Updates
from .transfer.versions import Versions
from .zone.tables import Zone
from .zone.zone_files import ZoneFiles

if TYPE_CHECKING:
    from . import Dns
    from .etcd.follower import Follower
    from .keys.maintenance import Signing
    from .keys.zone_signer import ZoneSigner

MAX_ORIGIN: Final = wire.MAX_NAME - 11
"""Bytes of the name of a zone that is made here, with hostmaster in front of it."""

T = TypeVar("T")


def prepare(options: Dns, context: Context) -> DnsHandler:
    """Raises ConfigErrors."""
    errors: list[ConfigError] = []
    here = tuple(_name(name, f"here[{number}]", errors) for number, name in enumerate(options.here))
    keys = {
        name: dns.tsig.Key(name, base64.b64decode(key.secret), key.algorithm)
        for name, key in (
            (_name(text, key_path("transfer_keys", text), errors), key) for text, key in options.transfer_keys.items()
        )
    }
    files = {_name(text, key_path("zones", text), errors): (text, file) for text, file in options.zones.items()}
    has_others = bool(options.here or options.secondary or options.etcd)
    if not (options.zones or has_others):
        message = "missing: it has nothing to serve, neither zones nor secondary, etcd or here"
        errors.append(ConfigError(message, path="zones"))
    file_zones = [name.to_digestable() for name in files]
    sources = _sources(options, keys, file_zones, context, errors)
    lister_origin = _listing(options, [*file_zones, *sources], errors)
    notified = {}
    for text, given in options.notify.items():
        path = key_path("notify", text)
        name = _name(text, path, errors)
        origin = name.to_digestable()
        if origin not in file_zones and origin not in sources and origin != lister_origin:
            errors.append(ConfigError("there is no such zone in zones or secondary", path=path))
        notified[origin] = tuple(_servers(given, path, errors))
    accepting = None if options.tls is None else _accepting(options.tls, context, errors)
    signing = _signing(options, files, sources, context, errors)
    policies = _policies(options, files, sources, keys, context, errors)
    others = {*sources, *file_zones, lister_origin or b""}
    etcd = None if options.etcd is None else _follower(options.etcd, others, context, errors)
    if errors:
        raise ConfigErrors(errors)
    here_names = tuple(name.to_digestable() for name in here)
    zone_files = ZoneFiles(
        files,
        include_anywhere=options.include_anywhere,
        signing=signing,
        are_all=not has_others,
        have_secondaries=bool(options.allow_transfer or options.transfer_keys),
    )
    if signing is not None:
        signing.read = zone_files.read_again(context)
    versions = histories = updates = None
    if context.state_dir is not None and (options.allow_transfer or options.transfer_keys or sources or policies):
        folder = context.state_dir / "journals"
        zone_files.updates = versions = histories = Versions(folder, [*policies], zone_files.read_again(context))
        updates = Updates(policies, versions, context.instance) if policies else None
        if updates is not None and signing is not None:
            updates.signed = signing.signers
            updates.complete = versions.complete = signing.complete
        if signing is not None and signing.elsewhere:  # the copies' versions have other serials than what is served
            histories = Versions(folder, (), zone_files.read_again(context), signing.elsewhere)
    made = [] if lister_origin is None else [lister_origin]
    secondaries = Secondaries(sources, [*file_zones, *made], histories) if sources else None
    lists = frozenset([*made, *(origin for origin, source in sources.items() if source.is_catalog)])
    lister = None if lister_origin is None else Lister(lister_origin, lists, versions)
    secrets = tuple(map(bytes.fromhex, options.cookie_secrets))
    settings = Settings(
        edns_size=options.edns_size,
        version=options.version,
        identity=options.identity,
        allow_transfer=options.allow_transfer,
        keys=keys,
        cookies=Cookies(secrets, time.time) if options.cookies else None,
        here=HostNames(here_names, int(options.here_ttl), options.here_addresses),
        lists=lists,
        hear=None if secondaries is None else secondaries.hear,
    )
    catalog = zone_files.load(context)
    if secondaries is not None:
        secondaries.load(context.state_dir, context.instance)
        served = secondaries.served()
        catalog = catalog.with_zones(served if signing is None else signing.instead(served))
    if etcd is not None:
        etcd.load()
        catalog = catalog.with_zones(etcd.served())
    if lister is not None:
        catalog = catalog.with_zones({lister.origin: lister.load(context.state_dir, catalog)})
    processor = QueryProcessor(settings, catalog, versions)
    total = 10 * options.rate_limit if options.rate_limit_all is None else options.rate_limit_all
    tcp = TcpServer(processor, options.idle_timeout, options.connection_time)
    return DnsHandler(
        processor,
        limit=RateLimit(options.rate_limit, options.slip, total) if options.rate_limit else None,
        tcp=tcp,
        tls=None if options.tls is None or accepting is None else TlsServer(tcp, options.tls.serve, accepting),
        notifier=Notifier(notified, partial(lists_of, secondaries, lister)) if notified else None,
        secondaries=secondaries,
        etcd=etcd,
        lister=lister,
        reload=zone_files.reload_in(context) if options.watch else None,
        signing=signing,
        updates=updates,
    )


def stored_zone(options: Dns, context: Context, origin: bytes) -> Zone:
    """One of the `zones` as the daemon would serve it after a start, but for what is signed here: file and updates.

    Raises ConfigErrors.
    """
    name, text, file = next(
        (name, text, file)
        for text, file in options.zones.items()
        if (name := dns.name.from_text(text)).to_digestable() == origin
    )
    zone_files = ZoneFiles({name: (text, file)}, include_anywhere=options.include_anywhere)
    if any(dns.name.from_text(each) == name for each in options.update) and context.state_dir is not None:
        zone_files.updates = Versions(context.state_dir / "journals", [origin], zone_files.read_again(context))
    zone = zone_files.load(context).zones[origin]
    assert zone is not None  # noqa: S101 - of one zone that can't be read the mistakes are raised
    return zone


def _accepting(
    options: Tls, context: Context, errors: list[ConfigError]
) -> certificate.Renewed[Mapping[str, ssl.SSLContext]]:
    versions = ["h2", "http/1.1"] if importlib.util.find_spec("h2") is not None else ["http/1.1"]
    if HTTPS in options.serve and len(versions) == 1:
        context.warn(
            ConfigError("by HTTP/1.1 alone: HTTP/2 needs pip install 'responderd[dns-https]'", path="tls.serve")
        )
    accepting = certificate.of_server(options, {TLS: ["dot"], HTTPS: versions})
    _load(accepting, context, errors)
    return accepting


def _load(made: certificate.Renewed[T], context: Context, errors: list[ConfigError]) -> None:
    try:
        made.load(context)
    except ConfigErrors as several:
        errors += several.errors


def _signing(
    options: Dns,
    files: Container[dns.name.Name],
    sources: Mapping[bytes, Source],
    context: Context,
    errors: list[ConfigError],
) -> Signing | None:
    if not options.sign:
        return None
    signers = signers_of(options, context.folder, errors)
    for signer in signers.values():
        source = sources.get(signer.origin)
        if source is None and dns.name.from_wire(signer.origin, 0)[0] not in files:
            errors.append(ConfigError("there is no such zone in zones or secondary", path=signer.path))
        if source is not None and source.is_catalog:
            message = "a catalog zone is not signed: it is for secondaries, which authenticate it by key or tls"
            errors.append(ConfigError(message, path=signer.path))
        try:
            signer.load_keys()
        except ConfigErrors as mistakes:
            errors += mistakes.errors
    if errors:
        return None
    from .keys.maintenance import Signing  # noqa: PLC0415 - cryptography is an extra
    from .keys.zone_signer import unwritable  # noqa: PLC0415 - as above

    reason = "there is no folder for it" if context.state_dir is None else unwritable(context.state_dir)
    if reason:
        errors.append(ConfigError(f"the state of signed zones can't be kept: {reason}", path="sign"))
    for number, text in enumerate(options.here):
        above = next((each for each in wire.suffixes(_name(text, "", errors).to_digestable()) if each in signers), None)
        if above is not None:
            message = f"{text} is in a zone that is signed here, and answers to it are not: who validates refuses them"
            context.warn(ConfigError(message, path=f"here[{number}]"))
    return Signing(signers, context.state_dir, [origin for origin in signers if origin in sources])


def signers_of(options: Dns, folder: Path, errors: list[ConfigError]) -> dict[bytes, ZoneSigner]:
    """What signs the zones of `sign`, by origin; none where there are errors."""
    try:
        from .keys.key_files import KeyFolder  # noqa: PLC0415 - cryptography is an extra
        from .keys.zone_signer import ZoneSigner  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("cryptography"):
            raise
        errors.append(ConfigError("needs the package cryptography: pip install 'responderd[dnssec]'", path="sign"))
        return {}
    signers = {}
    for text, policy in options.sign.items():
        path = key_path("sign", text)
        origin = _name(text, path, errors).to_digestable()
        signers[origin] = ZoneSigner(origin, policy, KeyFolder(folder / policy.keys, origin), path)
    return signers


def _sources(
    options: Dns, keys: Keyring, files: Container[bytes], context: Context, errors: list[ConfigError]
) -> dict[bytes, Source]:
    """Where the zones of `secondary` come from, by their origins."""
    sources = {}
    credentials: dict[PrimaryTls, certificate.Renewed[ssl.SSLContext]] = {}
    for text, given in options.secondary.items():
        path = key_path("secondary", text)
        name = _name(text, path, errors)
        if name.to_digestable() in files:
            errors.append(ConfigError("this zone is also in zones: it is either taken from others or read", path=path))
        if not given.primaries:
            errors.append(ConfigError("expected at least one address", path=f"{path}.primaries"))
        key = None
        if given.key is not None:
            key = keys.get(_name(given.key, f"{path}.key", errors))
            if key is None:
                errors.append(ConfigError("there is no such key in transfer_keys", path=f"{path}.key"))
        port = PORT if given.tls is None else TLS_PORT
        servers = [*_servers(given.primaries, f"{path}.primaries", errors, port)]
        tls: Iterable[client.ClientTls | None] = repeat(None)
        if given.tls is not None:
            if given.tls not in credentials:
                credentials[given.tls] = client.of_client(given.tls, f"{path}.tls")
                _load(credentials[given.tls], context, errors)
            names = _certified(given.tls.names, f"{path}.tls.names", errors) or [None]
            tls = (client.ClientTls(given.tls, each, credentials[given.tls]) for each in cycle(names))
        primaries = tuple(Primary(server, key, within) for server, within in zip(servers, tls, strict=False))
        sources[name.to_digestable()] = Source(primaries, given.catalog)
    return sources


def _certified(names: Iterable[str], path: str, errors: list[ConfigError]) -> list[str | None]:
    """The names that certificates are to be of: domain names, or addresses."""
    return [_name(text, f"{path}[{number}]", errors).to_text(omit_final_dot=True) for number, text in enumerate(names)]


def _policies(
    options: Dns,
    files: Container[dns.name.Name],
    sources: Container[bytes],
    keys: Container[dns.name.Name],
    context: Context,
    errors: list[ConfigError],
) -> dict[bytes, Policy]:
    """Who may update which zone, by their origins."""
    policies = {}
    for text, given in options.update.items():
        path = key_path("update", text)
        zone = _name(text, path, errors)
        if zone not in files:
            message = "there is no such zone in zones"
            if zone.to_digestable() in sources:
                message = "a zone of secondary takes no updates here: they are its primary's matter"
            errors.append(ConfigError(message, path=path))
        if context.state_dir is None:
            errors.append(ConfigError("there is no folder for its state", path=path))
        if not given.keys and not given.allow:
            errors.append(ConfigError("nobody may update it: expected keys or allow", path=path))
        owners = set()
        for number, key in enumerate(given.keys):
            name = _name(key, f"{path}.keys[{number}]", errors)
            if name not in keys:
                errors.append(ConfigError("there is no such key in transfer_keys", path=f"{path}.keys[{number}]"))
            owners.add(name)
        patterns = []
        for number, each in enumerate(given.names):
            name = _name(each, f"{path}.names[{number}]", errors)
            if not name.is_subdomain(zone):
                errors.append(ConfigError(f"{each!r} is not in the zone", path=f"{path}.names[{number}]"))
            patterns.append(Pattern(name.to_digestable()))
        policies[zone.to_digestable()] = Policy(frozenset(owners), given.allow, tuple(patterns) or None)
    return policies


def _follower(options: Etcd, others: Collection[bytes], context: Context, errors: list[ConfigError]) -> Follower | None:
    """`others` are the origins of zones from elsewhere."""
    if importlib.util.find_spec("httpx") is None:
        errors.append(ConfigError("needs the package httpx: pip install 'responderd[etcd]'", path="etcd"))
        return None
    from .etcd.follower import Follower  # noqa: PLC0415 - httpx is an extra

    origins: list[bytes] = []
    for number, text in enumerate(options.zones):
        path = f"etcd.zones[{number}]"
        origin = _name(text, path, errors).to_digestable()
        if origin in others:
            message = "this zone is also in zones or secondary: it can't be from etcd too"
            errors.append(ConfigError(message, path=path))
        if len(origin) > MAX_ORIGIN:
            errors.append(ConfigError("too long: there is no room for hostmaster in front of it", path=path))
        origins.append(origin)
    if not origins:
        errors.append(ConfigError("expected at least one zone", path="etcd.zones"))
    try:
        return Follower(options, origins, context)
    except ConfigErrors as several:
        errors += several.errors
        return None


def _listing(options: Dns, others: Container[bytes], errors: list[ConfigError]) -> bytes | None:
    """The origin of the catalog zone that is made here."""
    if options.catalog is None:
        return None
    origin = _name(options.catalog, "catalog", errors).to_digestable()
    if origin in others:
        errors.append(ConfigError("this zone is also in zones or secondary, and is to be made here", path="catalog"))
    return origin


def _servers(texts: Iterable[str], path: str, errors: list[ConfigError], port: int = PORT) -> Iterator[Peer]:
    """`port` where none is said."""
    for number, text in enumerate(texts):
        try:
            yield server_of(text, port)
        except ValueError as error:
            errors.append(ConfigError(str(error), path=f"{path}[{number}]"))


def _name(text: str, path: str, errors: list[ConfigError]) -> dns.name.Name:
    try:
        return dns.name.from_text(text)
    except (dns.exception.DNSException, ValueError) as error:
        errors.append(ConfigError(f"expected a domain name, got {text!r}: {error}", path=path))
        return dns.name.root

"""Options into a handler: names and keys read, zones loaded, and loaded again.

A zone with mistakes is not served, others are: each mistake is told with file and line, the version of the zone that
is in use goes on being served, and where there is none its names are answered with SERVFAIL.  If that leaves an
instance without any zone at all, the mistakes are the instance's own: `ConfigErrors`.

This file refuses to answer anything.
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import dns.exception
import dns.name
import dns.tsig

from responder import ConfigError, ConfigErrors, Context
from responder.plugin import stamp_of

from .answer.cookies import Cookies
from .answer.host_names import Here
from .answer.lookup import Catalog
from .answer.processor import Answering, Settings
from .answer.rate_limit import RateLimit
from .handler import DnsHandler
from .message import wire
from .tcp import Streaming
from .zone import master_file
from .zone.tables import Zone

if TYPE_CHECKING:
    from . import Dns

_log = logging.getLogger(__name__)


def prepare(options: Dns, context: Context) -> DnsHandler:
    """Raises ConfigErrors."""
    errors: list[ConfigError] = []
    here = tuple(_name(name, f"here[{number}]", errors) for number, name in enumerate(options.here))
    keys = {
        name: dns.tsig.Key(name, base64.b64decode(key.secret), key.algorithm)
        for name, key in (
            (_name(text, f"transfer_keys.{text}", errors), key) for text, key in options.transfer_keys.items()
        )
    }
    files = {_name(text, f"zones.{text}", errors): (text, file) for text, file in options.zones.items()}
    if not options.zones and not options.here:
        errors.append(ConfigError("missing: it has neither zones nor here names to serve", path="zones"))
    if errors:
        raise ConfigErrors(errors)
    here_names = tuple(name.to_digestable() for name in here)
    library = _Library(files, here_names)
    secrets = tuple(map(bytes.fromhex, options.cookie_secrets))
    settings = Settings(
        edns_size=options.edns_size,
        version=options.version,
        identity=options.identity,
        allow_transfer=options.allow_transfer,
        keys=keys,
        cookies=Cookies(secrets, time.time) if options.cookies else None,
        here=Here(here_names, options.here_ttl, options.here_addresses),
    )
    answering = Answering(settings, library.load(context))
    return DnsHandler(
        answering,
        limit=RateLimit(options.rate_limit, options.slip) if options.rate_limit else None,
        streaming=Streaming(answering, options.idle_timeout, options.connection_time, options.connections_per_peer),
        reload=library.reload_in(context) if options.watch else None,
    )


def _name(text: str, path: str, errors: list[ConfigError]) -> dns.name.Name:
    try:
        return dns.name.from_text(text)
    except (dns.exception.DNSException, ValueError) as error:
        errors.append(ConfigError(f"expected a domain name, got {text!r}: {error}", path=path))
        return dns.name.root


class _Library:
    """The zones of an instance and their files."""

    def __init__(self, files: Mapping[dns.name.Name, tuple[str, Path]], here: tuple[bytes, ...]) -> None:
        self._files = files
        # What `here` answers must not be found before it.
        self._without = [name + rdtype.to_bytes(2) for name in here for rdtype in (wire.A, wire.AAAA)]

    def load(self, context: Context) -> Catalog:
        zones: dict[bytes, Zone | None] = {}
        mistakes: list[ConfigError] = []
        for name, (text, file) in self._files.items():
            key = name.to_digestable()
            try:
                zones[key] = master_file.load(name, file, context)
            except ConfigErrors as broken:
                zones[key] = master_file.last_good(name, context.path(file))
                serving = "not served" if zones[key] is None else "still served as it was"
                for error in broken.errors:
                    message = f"zone {name} is {serving}: {error.message}"
                    mistakes.append(ConfigError(message, path=f"zones.{text}", file=error.file, line=error.line))
        if mistakes and not any(zones.values()):
            raise ConfigErrors(mistakes)
        for mistake in mistakes:
            context.complain(mistake)
        return Catalog.of(zones, self._without)

    def reload_in(self, context: Context) -> Callable[[], Catalog | None]:
        """What looks whether a file has changed since it was last looked at, and reads the zones again if so."""
        seen = dict(context.files)

        def reload() -> Catalog | None:
            if all(stamp_of(path) == stamp for path, stamp in seen.items()):
                return None
            fresh = Context(context.instance, context.folder)
            try:
                catalog = self.load(fresh)
            except ConfigErrors as broken:
                fresh.complaints += broken.errors
                return None
            finally:
                for complaint in fresh.complaints:
                    _log.error("%s", complaint)
                seen.clear()
                seen.update(fresh.files)
            return catalog

        return reload

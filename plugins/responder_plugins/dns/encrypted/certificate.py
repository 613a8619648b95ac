"""The certificate of a server and its private key, from PEM files, as contexts of TLS.

A context is not changed once it is in use: where the files have changed, new connections get a new one.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from responder import ConfigErrors, Context, Stamp, get_logger, stamp_of

from . import pem

if TYPE_CHECKING:
    from ..options import Tls

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: what HTTP/2 allows (RFC 9113 section 9.2.2), each with forward secrecy.  TLS 1.3 has no others."""

_log = get_logger(__name__)


@attrs.define(eq=False)
class Certificate:
    """A certificate with its key, and for each service, by its name, what connections are accepted with.

    protocols  what each service speaks (ALPN), by preference
    """

    options: Tls
    protocols: Mapping[str, Sequence[str]]
    contexts: Mapping[str, ssl.SSLContext] = attrs.field(factory=dict, init=False)
    _instance: str = attrs.field(default="", init=False)
    _folder: Path = attrs.field(factory=Path, init=False)
    _seen: Mapping[Path, Stamp] = attrs.field(factory=dict, init=False)

    def load(self, context: Context) -> None:
        """Read both files.  Raises ConfigErrors; what was read before then stays in use."""
        self._instance, self._folder = context.instance, context.folder
        try:
            self.contexts = _contexts(self.options, self.protocols, context)
        finally:
            paths = [(context.folder / name).absolute() for name in (self.options.certificate, self.options.key)]
            self._seen = {path: context.files[path] for path in paths}

    def look(self) -> None:
        """Read the files again where they have changed.  Logs a mistake, and stays with what is in use."""
        if all(stamp_of(path) == stamp for path, stamp in self._seen.items()):
            return
        try:
            self.load(Context(self._instance, self._folder))
        except ConfigErrors as broken:
            for error in broken.errors:
                _log.error("the certificate stays the one before", plugin=self._instance, reason=str(error))
        else:
            _log.info("a new certificate is in use", plugin=self._instance, file=str(self.options.certificate))


def _contexts(options: Tls, protocols: Mapping[str, Sequence[str]], context: Context) -> dict[str, ssl.SSLContext]:
    result: dict[str, ssl.SSLContext] = {}
    for service, spoken in protocols.items():
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.options |= ssl.OP_NO_RENEGOTIATION
        made.set_ciphers(_CIPHERS)
        made.set_alpn_protocols(list(spoken))
        pem.use(made, options.certificate, options.key, context, "tls")
        result[service] = made
    return result

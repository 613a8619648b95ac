"""What is made of certificates and private keys in PEM files, and made anew where the files have changed.

A context of TLS is not changed once it is in use: where the files have changed, new connections get a new one.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import attrs

from responder import ConfigErrors, Context, Stamp, get_logger, stamp_of

from . import pem

if TYPE_CHECKING:
    from ..options import Tls

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: what HTTP/2 allows (RFC 9113 section 9.2.2), each with forward secrecy.  TLS 1.3 has no others."""

T = TypeVar("T")

_log = get_logger(__name__)


@attrs.define(eq=False)
class Renewed(Generic[T]):
    """What `make` makes of these files, of which messages tell the first one; it raises ConfigErrors.

    made  the last that could be made
    """

    files: Sequence[Path]
    make: Callable[[Context], T]
    made: T = attrs.field(init=False)
    _instance: str = attrs.field(default="", init=False)
    _folder: Path = attrs.field(factory=Path, init=False)
    _seen: Mapping[Path, Stamp] = attrs.field(factory=dict, init=False)

    def load(self, context: Context) -> None:
        """Read the files.  Raises ConfigErrors; what was made before then stays in use."""
        self._instance, self._folder = context.instance, context.folder
        try:
            self.made = self.make(context)
        finally:
            paths = [(context.folder / name).absolute() for name in self.files]
            self._seen = {path: context.files[path] for path in paths if path in context.files}

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
            _log.info("a new certificate is in use", plugin=self._instance, file=str(self.files[0]))


def of_server(options: Tls, protocols: Mapping[str, Sequence[str]]) -> Renewed[Mapping[str, ssl.SSLContext]]:
    """What each service accepts connections with, by its name; `protocols` it speaks (ALPN), by preference."""

    def make(context: Context) -> Mapping[str, ssl.SSLContext]:
        return {service: _context(options, spoken, context) for service, spoken in protocols.items()}

    return Renewed((options.certificate, options.key), make)


def _context(options: Tls, protocols: Sequence[str], context: Context) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION
    made.set_ciphers(_CIPHERS)
    made.set_alpn_protocols(list(protocols))
    pem.use(made, options.certificate, options.key, context, "tls")
    return made

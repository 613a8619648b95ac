"""The certificate of a server and its private key, from PEM files, as contexts of TLS.

A context is not changed once it is in use: where the files have changed, new connections get a new one.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from responder import ConfigError, ConfigErrors, Context, Stamp, get_logger, stamp_of

if TYPE_CHECKING:
    from ..options import Tls

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY: Final = re.compile(rb"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----")
_ENCRYPTED: Final = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)

_OTHER_KEY: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"})
_WEAK: Final = frozenset({"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"})

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
    errors: list[ConfigError] = []
    read: dict[str, bytes] = {}
    for name, file in (("certificate", options.certificate), ("key", options.key)):
        try:
            read[name] = context.read_bytes(file, key=f"tls.{name}")
        except ConfigError as error:
            errors.append(error)
    if "certificate" in read and (problem := _problem_of_certificate(read["certificate"])):
        errors.append(_mistake(problem, "certificate", options, context))
    if "key" in read and (problem := _problem_of_key(read["key"])):
        errors.append(_mistake(problem, "key", options, context))
    if errors:
        raise ConfigErrors(errors)
    result: dict[str, ssl.SSLContext] = {}
    for service, spoken in protocols.items():
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.options |= ssl.OP_NO_RENEGOTIATION
        made.set_ciphers(_CIPHERS)
        made.set_alpn_protocols(list(spoken))
        try:
            made.load_cert_chain(context.path(options.certificate), context.path(options.key), _no_password)
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
            if reason in _OTHER_KEY:
                problem, which = f"it is not the key of the certificate in {options.certificate}", "key"
            else:
                problem, which = f"OpenSSL refuses it: {reason}", "certificate" if reason in _WEAK else "key"
            raise ConfigErrors([_mistake(problem, which, options, context)]) from None
        result[service] = made
    return result


def _mistake(problem: str, which: str, options: Tls, context: Context) -> ConfigError:
    return ConfigError(problem, path=f"tls.{which}", file=context.path(getattr(options, which)))


def _problem_of_certificate(text: bytes) -> str:
    found = _CERTIFICATE.findall(text)
    if not found:
        return "expected a certificate in PEM form (-----BEGIN CERTIFICATE-----), and found none"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=b"\n".join(found).decode("ascii"))
    except (ssl.SSLError, ValueError):
        return "expected a certificate in PEM form, and found a broken one"
    return ""


def _problem_of_key(text: bytes) -> str:
    if _ENCRYPTED.search(text):
        return "the key is encrypted, and nobody is there to type its passphrase: write it without one"
    if not _KEY.search(text):
        return "expected a private key in PEM form (-----BEGIN PRIVATE KEY-----), and found none"
    return ""


def _no_password() -> bytes:
    """Never OpenSSL's own, which asks on the terminal."""
    return b""

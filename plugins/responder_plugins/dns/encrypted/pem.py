"""Certificates and private keys from PEM files into a context of TLS, each mistake told with its file.

Nothing of a key is ever repeated.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Final

from responder import ConfigError, ConfigErrors, Context

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY: Final = re.compile(rb"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----")
_ENCRYPTED: Final = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)

_OTHER_KEY: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"})
_WEAK: Final = frozenset({"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"})


def use(into: ssl.SSLContext, certificate: Path, key: Path, context: Context, table: str) -> None:
    """Show this certificate.  `table` is the options' that name the files.  Raises ConfigErrors."""
    errors: list[ConfigError] = []
    files = {"certificate": certificate, "key": key}

    def mistake(which: str, problem: str) -> ConfigError:
        return ConfigError(problem, path=f"{table}.{which}", file=context.path(files[which]))

    for which, problem_of in (("certificate", _problem_of_certificate), ("key", _problem_of_key)):
        try:
            if problem := problem_of(context.read_bytes(files[which], key=f"{table}.{which}")):
                errors.append(mistake(which, problem))
        except ConfigError as error:
            errors.append(error)
    if errors:
        raise ConfigErrors(errors)
    try:
        into.load_cert_chain(context.path(certificate), context.path(key), _no_password)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        if reason in _OTHER_KEY:
            wrong = mistake("key", f"it is not the key of the certificate in {certificate}")
        else:
            wrong = mistake("certificate" if reason in _WEAK else "key", f"OpenSSL refuses it: {reason}")
        raise ConfigErrors([wrong]) from None


def trust(into: ssl.SSLContext, authorities: Path, context: Context, option: str) -> None:
    """Believe what these vouch for.  Raises ConfigErrors."""
    try:
        text = context.read_bytes(authorities, key=option)
    except ConfigError as error:
        raise ConfigErrors([error]) from error
    if problem := _problem_of_certificate(text):
        raise ConfigErrors([ConfigError(problem, path=option, file=context.path(authorities))])
    into.load_verify_locations(cadata=_certificates(text))


def _certificates(text: bytes) -> str:
    return b"\n".join(_CERTIFICATE.findall(text)).decode("ascii")


def _problem_of_certificate(text: bytes) -> str:
    if not _CERTIFICATE.search(text):
        return "expected a certificate in PEM form (-----BEGIN CERTIFICATE-----), and found none"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=_certificates(text))
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

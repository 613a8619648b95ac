"""TLS towards a primary: who it must be, and in words why a handshake has failed.

By RFC 9103 it is TLS 1.3 or nothing (section 7.2), and the protocol `dot` is asked for (section 7.1); a primary that
does not tell what it speaks, as NSD 4.6, is taken for one that speaks it.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import attrs
import trio

from responder import Context

from ...shared.threads import in_thread
from ..options import PrimaryTls
from . import pem
from .alerts import Alerting
from .certificate import Renewed

ENDED: Final = "it ended the connection"

_WORDS: Final = {
    "UNSUPPORTED_PROTOCOL": "it does not speak TLS 1.3",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it does not speak TLS 1.3",
    "WRONG_VERSION_NUMBER": "what it speaks is no TLS",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "it serves no DNS over TLS there (ALPN)",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a certificate of ours (tls.certificate)",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know who vouches for our certificate",
    "UNEXPECTED_EOF_WHILE_READING": ENDED,
}
"""What OpenSSL's reasons mean here."""


@attrs.frozen
class ClientTls:
    """How one primary is spoken to; equal where that is the same, whatever the files have.

    name  what its certificate must be of; None: of anything
    """

    options: PrimaryTls
    name: str | None
    credentials: Renewed[ssl.SSLContext] = attrs.field(eq=False, repr=False)

    async def secure(self, transport: trio.SocketStream) -> trio.SSLStream[trio.SocketStream]:
        """The stream within, after the handshake.  Raises trio.BrokenResourceError."""
        if self.credentials.files:
            await in_thread(self.credentials.look)
        secure = Alerting(transport, self.credentials.made, name=self.name)
        try:
            await secure.stream.do_handshake()
        finally:
            await secure.alert()
        return secure.stream


def of_client(options: PrimaryTls, table: str) -> Renewed[ssl.SSLContext]:
    """What primaries are spoken to with; `table` is the options'."""

    def make(context: Context) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_3
        made.set_alpn_protocols(["dot"])
        made.check_hostname = bool(options.names)
        if options.opportunistic:
            made.verify_mode = ssl.CERT_NONE
        elif options.ca is None:
            made.load_default_certs()
        else:
            made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it may be the certificate of the primary itself
            pem.trust(made, options.ca, context, f"{table}.ca")
        if options.certificate is not None and options.key is not None:
            pem.use(made, options.certificate, options.key, context, table)
        return made

    files: list[Path] = [file for file in (options.certificate, options.key, options.ca) if file is not None]
    return Renewed(files, make)


def reason_of(error: BaseException) -> str | None:
    """Why TLS has failed, in words; None where it is not TLS that has."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__
    if cause is None:
        return None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {cause.verify_message.rstrip('.')}"
    if isinstance(cause, ssl.SSLEOFError):
        return ENDED
    reason = cause.reason or str(cause)
    return _WORDS.get(reason, reason)

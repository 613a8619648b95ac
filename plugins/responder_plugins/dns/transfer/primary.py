"""A primary: the server that a zone is taken from, how it is asked, and what can be wrong with that."""

from __future__ import annotations

import attrs
import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.tsig
import trio

from responder import Peer

from ..encrypted.client import ClientTls


class TransferError(Exception):
    """A primary can't be asked, or what it says can't be used; the text says why."""


class Unanswered(TransferError):
    """It does not answer at all."""


class TlsFailed(Unanswered):
    """Not within TLS: it can't do that, it is not who it should be, or it does not believe who asks."""


class Refused(TransferError):
    """Its answer is an rcode."""


@attrs.frozen
class Primary:
    """A server that a zone is taken from, the key that questions to it are signed with, and the TLS around them."""

    server: Peer
    key: dns.tsig.Key | None = None
    tls: ClientTls | None = None

    def __str__(self) -> str:
        return str(self.server)

    def query(self, origin: bytes, rdtype: dns.rdatatype.RdataType) -> dns.message.QueryMessage:
        """A question about a zone."""
        query = dns.message.make_query(dns.name.from_wire(origin, 0)[0], rdtype, flags=0)
        if self.key is not None:
            query.use_tsig(self.key)
        return query


def described(error: BaseException) -> str:
    """What went wrong, in a line."""
    if isinstance(error, dns.exception.Timeout | trio.TooSlowError):
        return "no answer"
    return " ".join(str(error).split()) or type(error).__name__

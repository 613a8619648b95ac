"""A DNS query in an HTTP request, and its answer (RFC 8484), whatever version of HTTP carries them.

Only queries: what else DNS has, UPDATE and NOTIFY, is not in RFC 8484, and would have a GET do something (RFC 9110
section 9.2.1 has it safe).  It gets NOTIMP.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

import attrs

from responder import Connection, PeerError
from responder_plugins.shared import http

from ..answer.processor import QueryProcessor
from ..message import wire

PATH: Final = "/dns-query"
"""Of the URI template `https://NAME/dns-query{?dns}`."""

MEDIA_TYPE: Final = "application/dns-message"
METHODS: Final = ("GET", "HEAD", "POST")
SERVER: Final = "responderd"


@attrs.define(eq=False)
class Queries:
    """Answers the requests of a connection.  `counts` has those that were no queries, as `http-refused`."""

    processor: QueryProcessor
    connection: Connection
    counts: Counter[str]

    def respond(self, request: http.Request) -> http.Document | HTTPStatus:
        """The answer, whatever its rcode; a status where there is no query."""
        query = _query(request)
        if not isinstance(query, HTTPStatus):
            try:
                return self._answer(query)
            except PeerError:
                query = HTTPStatus.BAD_REQUEST
        self.counts["http-refused"] += 1
        return query

    def _answer(self, data: bytes) -> http.Document:
        """Raises PeerError for what gets no answer by DNS."""
        query = self.processor.read(data)
        if query.opcode:
            query.problem, query.question = wire.NOTIMP, b""
        reply = self.processor.answer(query, data, self.connection)
        self.processor.count(reply.rcode)
        # RFC 8484 section 5.1.  What varies is for this client, or this moment.
        fresh = "no-store" if reply.varies else f"max-age={lifetime(reply.data)}"
        return http.Document(reply.data, MEDIA_TYPE, (("Cache-Control", fresh),))


def _query(request: http.Request) -> bytes | HTTPStatus:
    if request.path != PATH:
        return HTTPStatus.NOT_FOUND
    if request.method == "POST":
        return request.body if request.media_type == MEDIA_TYPE else HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    given = parse_qs(request.query, max_num_fields=8).get("dns", []) if request.query.count("&") < 8 else []
    if len(given) != 1:
        return HTTPStatus.BAD_REQUEST
    try:
        # RFC 8484 section 6: base64url without padding.
        return base64.b64decode(given[0] + "=" * (-len(given[0]) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return HTTPStatus.BAD_REQUEST


def lifetime(reply: bytes) -> int:
    """Seconds for which an answer of ours holds: the least TTL of its answer section.

    Where that is empty, how long the denial holds, which is the TTL that the SOA record has there (RFC 2308 section 5);
    0 for what is neither.
    """
    _, _, questions, answers, authorities, _ = wire.HEADER.unpack_from(reply)
    at = wire.HEADER.size
    for _ in range(questions):
        at = wire.skip_name(reply, at) + 4
    ttls: list[int] = []
    for number in range(answers + authorities):
        at = wire.skip_name(reply, at)
        rdtype, _, ttl, size = wire.RECORD.unpack_from(reply, at)
        at += wire.RECORD.size + size
        if number < answers or (rdtype == wire.SOA and not answers):
            ttls.append(ttl)
    return min(ttls, default=0)

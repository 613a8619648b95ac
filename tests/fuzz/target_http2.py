"""What comes on a connection of HTTP/2 with DNS queries: served, refused or ended, in frames that a client can read."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.message
import h2.config
import h2.connection
import h2.settings
import hpack
import hyperframe.frame
from responder_plugins.dns.encrypted.http2 import WAITING, Http2
from responder_plugins.dns.encrypted.https import MEDIA_TYPE, PATH, Queries

from tests.plugins.dns.encrypted.support import connection
from tests.plugins.dns.support import ZONE, handler_of

from .streams import answer_to

QUERY = dns.message.make_query("www.example.test", "A", id=0).to_wire()
HEAD = [(":authority", "ns.example.test"), (":scheme", "https")]
STATUSES = {b"200", b"400", b"404", b"405", b"415", b"501", b"503"}


def _client(ask: Callable[[h2.connection.H2Connection], None]) -> bytes:
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    ask(client)
    sent: bytes = client.data_to_send()
    return sent


def _get(client: h2.connection.H2Connection, stream: int = 1) -> None:
    path = f"{PATH}?dns={base64.urlsafe_b64encode(QUERY).rstrip(b'=').decode()}"
    client.send_headers(stream, [(":method", "GET"), (":path", path), *HEAD], end_stream=True)


def _post(client: h2.connection.H2Connection, stream: int = 1) -> None:
    head = [(":method", "POST"), (":path", PATH), *HEAD, ("content-type", MEDIA_TYPE)]
    client.send_headers(stream, head)
    client.send_data(stream, QUERY[:10])
    client.send_data(stream, QUERY[10:], end_stream=True, pad_length=3)


def _many(client: h2.connection.H2Connection) -> None:
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 10})
    for stream in (1, 3, 5):
        (_get if stream == 3 else _post)(client, stream)
    client.increment_flow_control_window(1000, 1)
    client.reset_stream(5)
    client.ping(b"12345678")
    client.close_connection()


def _long(client: h2.connection.H2Connection) -> None:
    client.send_headers(1, [(":method", "HEAD"), (":path", "/" + "x" * 20_000), *HEAD], end_stream=True)
    client.prioritize(3, depends_on=1)


SEEDS = (*map(_client, (_get, _post, _many, lambda _client: None)), _client(_long)[:4096])
HANDLER = handler_of(Path(), zones={"example.test": ZONE})


async def _serve(stream: Any) -> None:
    server = Http2(stream, Queries(HANDLER.processor, connection(stream, "https"), Counter()).respond, 10.0)
    await server.serve()
    assert sum(map(len, server._waiting.values())) <= WAITING + 65535


def answered(data: bytes) -> bytes | None:
    """What is sent, once judged.  Raises AssertionError, or what hpack raises, for what no client could read."""
    answer = answer_to(data, _serve)
    rest, decoder = memoryview(answer), hpack.Decoder()
    decoder.max_allowed_table_size = 2**32 - 1  # what a client's settings may allow
    ended: set[int] = set()
    while rest:
        frame, size = hyperframe.frame.Frame.parse_frame_header(rest[:9])
        frame.parse_body(rest[9 : 9 + size])
        rest = rest[9 + size :]
        assert frame.stream_id not in ended, "something came after the end of a stream"
        if isinstance(frame, hyperframe.frame.HeadersFrame):
            fields = dict(decoder.decode(frame.data, raw=True))
            assert fields[b":status"] in STATUSES, fields
        if "END_STREAM" in frame.flags and frame.stream_id:
            ended.add(frame.stream_id)
    return answer or None

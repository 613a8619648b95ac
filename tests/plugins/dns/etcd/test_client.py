"""What an endpoint may answer that is no etcd, or broken: one error, which says so, and never another."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trio
from responder_plugins.dns.etcd import client as client_module
from responder_plugins.dns.etcd.client import CompactedError, EtcdClient, EtcdError, Event, Header, end_of

HEADER = {"cluster_id": "7", "revision": "12"}
EVENT = {"kv": {"key": "L3NreWRucy9h", "value": "e30=", "mod_revision": "12"}}


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> EtcdClient:
    client = EtcdClient("http://127.0.0.1:2379", user="dns", password="a word")  # noqa: S106 - of the test
    client._http = httpx.AsyncClient(base_url=client.endpoint, transport=httpx.MockTransport(answer))
    return client


async def watched(*chunks: bytes) -> list[tuple[int, list[Event]]]:
    seen: list[tuple[int, list[Event]]] = []

    async def take(revision: int, events: list[Event]) -> None:
        seen.append((revision, events))

    sender, receiver = trio.open_memory_channel[bytes](len(chunks))
    for chunk in chunks:
        sender.send_nowait(chunk)
    sender.close()
    await client_module._take_all(receiver, take)
    return seen


async def test_messages_come_in_any_pieces() -> None:
    messages = [{"result": {"header": HEADER, "created": True}}, {"result": {"header": HEADER, "events": [EVENT]}}]
    whole = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
    expected = [(12, []), (12, [Event(b"/skydns/a", b"{}")])]
    assert await watched(whole) == expected
    assert await watched(*(bytes((byte,)) for byte in whole)) == expected
    deleted = {"result": {"header": HEADER, "events": [{"type": "DELETE", "kv": {"key": "L3NreWRucy9h"}}]}}
    assert await watched(json.dumps(deleted).encode() + b"\n") == [(12, [Event(b"/skydns/a", None)])]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"<html>", "no JSON: is it etcd?"),
        (b"[" * 100_000, "no JSON: is it etcd?"),
        (b"[]", "no JSON object"),
        (b"{}", "no result"),
        (b'{"result": {}}', "no header"),
        (b'{"result": {"header": {"revision": "x"}}}', "revision in its answer is no integer"),
        (b'{"result": {"header": {"revision": 1e400}}}', "revision in its answer is no integer"),
        (b'{"result": {"header": {}, "events": {}}}', "events in its answer is no list"),
        (b'{"result": {"header": {}, "events": [1]}}', "no event"),
        (b'{"result": {"header": {}, "events": [{}]}}', "no kv"),
        (b'{"result": {"header": {}, "events": [{"kv": {"key": "!"}}]}}', "no key with its value"),
        (b'{"result": {"header": {}, "events": [{"kv": {"key": 7}}]}}', "no key with its value"),
        (b'{"result": {"canceled": true, "cancel_reason": "tired"}}', "tired"),
        (b'{"error": {"grpc_code": 14, "message": "leader lost"}}', "leader lost"),
    ],
)
async def test_messages_that_are_none(message: bytes, reason: str) -> None:
    with pytest.raises(EtcdError, match=reason) as caught:
        await watched(message + b"\n")
    assert not isinstance(caught.value, CompactedError)


async def test_a_compacted_revision_is_told_apart() -> None:
    with pytest.raises(CompactedError):
        await watched(b'{"result": {"canceled": true, "compact_revision": "9"}}\n')


async def test_a_message_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_LINE", 1000)
    with pytest.raises(EtcdError, match="without an end"):
        await watched(b"x" * 600, b"x" * 600)


async def test_whatever_comes_is_an_error_at_most() -> None:
    whole = json.dumps({"result": {"header": HEADER, "events": [EVENT, {"type": "DELETE", **EVENT}]}}).encode() + b"\n"
    chance = random.Random(7)  # noqa: S311 - to be the same each time
    for _ in range(5000):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            where = chance.randrange(len(data))
            if chance.random() < 0.5:
                data[where] = chance.choice(b'{}[]",:0179ntf\n\xff')
            else:
                del data[where : where + chance.randrange(1, 12)]
        try:
            await watched(bytes(data))
        except EtcdError:
            continue


@pytest.mark.parametrize(
    ("status", "body", "reason", "code"),
    [
        (404, b"", "HTTP status 404$", 0),
        (400, b"its CommonName\n\x00\xff" + b"x" * 300, "^HTTP status 400: its CommonName \ufffdx{184}$", 0),
        (503, b'{"error": "no leader", "code": 14}', "no leader", 14),
        (400, b'{"error": "required revision has been compacted", "code": 11}', "compacted", 0),
        (500, b"[]", "HTTP status 500", 0),
        (200, b"<html>", "no JSON", 0),
        (301, b"", "HTTP status 301", 0),
    ],
)
async def test_answers_that_are_none(status: int, body: bytes, reason: str, code: int) -> None:
    async with answering(lambda _request: httpx.Response(status, content=body)) as client:
        with pytest.raises(EtcdError, match=reason) as caught:
            await client.head(b"/skydns/")
    assert caught.value.code == code
    assert isinstance(caught.value, CompactedError) == ("compacted" in reason)


async def test_one_that_does_not_answer() -> None:
    def hang(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("") from trio.TooSlowError("cancelled due to deadline")

    async with answering(hang) as client:
        with pytest.raises(EtcdError, match=r"^it did not answer within 5 s$"):
            await client.head(b"/skydns/")


@pytest.mark.usefixtures("no_thread")
async def test_a_name_that_no_thread_can_be_had_to_look_up() -> None:
    async with EtcdClient("http://etcd.example.test:2379") as client:
        with pytest.raises(EtcdError, match="can't start new thread"):
            await client.head(b"/skydns/")
        with pytest.raises(EtcdError, match="can't start new thread"):
            await client.watch(b"/skydns/", 1, pytest.fail)  # type: ignore[arg-type]  # not called


async def test_a_token_is_asked_for_once_more_where_the_one_before_is_too_old() -> None:
    asked: list[tuple[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        token = request.headers.get("Authorization")
        asked.append((request.url.path, token))
        if request.url.path.endswith("authenticate"):
            return httpx.Response(200, json={"token": f"token {len(asked)}"})
        if token == "token 1":  # noqa: S105 - of the test
            return httpx.Response(401, json={"error": "invalid auth token", "code": 16})
        return httpx.Response(200, json={"header": HEADER})

    async with answering(answer) as client:
        await client.authenticate()
        assert await client.head(b"/skydns/") == Header("7", 12)
    paths = [(path.rpartition("/")[2], token) for path, token in asked]
    assert paths == [("authenticate", None), ("range", "token 1"), ("authenticate", None), ("range", "token 3")]


async def test_an_authority_that_gives_no_token() -> None:
    async with answering(lambda _request: httpx.Response(200, json={"token": ""})) as client:
        with pytest.raises(EtcdError, match="it gave no token"):
            await client.authenticate()


def test_the_end_of_a_prefix() -> None:
    assert end_of(b"/skydns/") == b"/skydns0"

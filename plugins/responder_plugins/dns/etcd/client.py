"""etcd's version 3 by its JSON gateway (/v3/kv/range, /v3/watch, /v3/auth/authenticate), on httpx and trio.

An etcd that can't be reached, refuses, or says what is no answer is one error, `EtcdError`: who asks tries again.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from math import inf
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import attrs
import httpx
import trio

from ...shared.threads import is_no_thread
from .skydns import read_object

TIMEOUT: Final = 5.0
"""Seconds for a connection, and for an answer."""

PAGE: Final = 1000
"""Keys asked for at a time."""

MAX_LINE: Final = 2**26
"""Bytes of one message of a watch."""

MAX_REASON: Final = 200
"""Characters of what an endpoint says that are told."""

for _name in ("httpx", "httpcore"):  # or each question would be lines of the log
    logging.getLogger(_name).setLevel(logging.WARNING)

UNAUTHENTICATED, COMPACTED = 16, 11  # google.rpc.Code: UNAUTHENTICATED, OUT_OF_RANGE


class EtcdError(Exception):
    """No answer, or a refusal; in words without secrets."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class CompactedError(EtcdError):
    """The revision that was asked for is not kept any more."""


@attrs.frozen
class Event:
    """A key that has a value from a revision on, or none (None)."""

    key: bytes
    value: bytes | None


@attrs.frozen
class Header:
    """Which cluster answered, and the revision that its store had then."""

    cluster: str
    revision: int


Take: TypeAlias = Callable[[int, list[Event]], Awaitable[None]]
"""Is told what happened, and the revision of the last of it; first of nothing, once a watch is made."""


class _Body(httpx.AsyncByteStream):
    """The body of a request.  That of httpx is a generator, which nobody closes where the connection breaks."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._rest:
            raise StopAsyncIteration
        content, self._rest = self._rest, b""
        return content


@attrs.define(eq=False)
class EtcdClient:
    """One endpoint; use it as a context manager.

    user, password  where the cluster asks for them
    """

    endpoint: str
    verify: Any = True
    user: str | None = None
    password: str | None = None
    _http: httpx.AsyncClient = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # No proxy that the environment names: this is a neighbour.
        self._http = httpx.AsyncClient(
            base_url=self.endpoint, verify=self.verify, timeout=TIMEOUT, trust_env=False, follow_redirects=False
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, where)

    async def authenticate(self) -> None:
        """Get a token, where there is a user.  Raises EtcdError."""
        if self.user is not None:
            self._http.headers.pop("Authorization", None)
            answer = await self._ask("/v3/auth/authenticate", {"name": self.user, "password": self.password or ""})
            token = answer.get("token")
            if not isinstance(token, str) or not token:
                raise EtcdError("it gave no token")
            self._http.headers["Authorization"] = token

    async def head(self, prefix: bytes) -> Header:
        """Ask for nothing of what has that prefix, which the user must be allowed to read.  Raises EtcdError."""
        return _header(await self._ask("/v3/kv/range", {**_range(prefix), "count_only": True}))

    async def everything(self, prefix: bytes) -> tuple[Header, list[Event]]:
        """All that has that prefix, as it was at one revision.  Raises EtcdError."""
        first: Header | None = None
        found: list[Event] = []
        start = prefix
        while True:
            asked = {**_range(prefix), "key": _text(start), "limit": PAGE}
            answer = await self._ask("/v3/kv/range", asked if first is None else {**asked, "revision": first.revision})
            first = first or _header(answer)
            page = [_event(each) for each in _list(answer, "kvs")]
            found += page
            if not page or not answer.get("more"):
                return first, found
            start = page[-1].key + b"\0"

    async def watch(self, prefix: bytes, revision: int, take: Take) -> None:
        """Tell `take` what happens to what has that prefix from a revision on.  Raises EtcdError when it ends."""
        create = {**_range(prefix), "start_revision": revision}
        request = self._request("/v3/watch", {"create_request": create}, httpx.Timeout(TIMEOUT, read=None))
        failure = EtcdError("the watch has ended")
        with _failures_as_ours():
            async with aclosing(await self._http.send(request, stream=True)) as answer:
                if answer.status_code != httpx.codes.OK:
                    await answer.aread()
                    raise _refusal(answer.status_code, answer.content)
                async with trio.open_nursery() as nursery:
                    coming = await nursery.start(_pump, answer)
                    try:
                        await _take_all(coming, take)
                    except EtcdError as error:
                        failure = error
                    nursery.cancel_scope.cancel()
        raise failure

    async def _ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Once more with a new token, where the one before is too old."""
        try:
            return await self._post(path, body)
        except EtcdError as error:
            if error.code != UNAUTHENTICATED or "Authorization" not in self._http.headers:
                raise
        await self.authenticate()
        return await self._post(path, body)

    def _request(self, path: str, body: Mapping[str, Any], timeout: httpx.Timeout | float = TIMEOUT) -> httpx.Request:
        request = self._http.build_request("POST", path, json=body, timeout=timeout)
        request.stream = _Body(request.content)
        return request

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        with _failures_as_ours():
            answer = await self._http.send(self._request(path, body))
        if answer.status_code != httpx.codes.OK:
            raise _refusal(answer.status_code, answer.content)
        return _object(answer.content)


def end_of(prefix: bytes) -> bytes:
    """The first key behind all that have the prefix, which does not end with 0xFF."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))


@contextmanager
def _failures_as_ours() -> Iterator[None]:
    """Raises EtcdError."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EtcdError(_words(error)) from None
    except RuntimeError as error:
        if not is_no_thread(error):  # to look a name up
            raise
        raise EtcdError(str(error)) from None


def _range(prefix: bytes) -> dict[str, Any]:
    return {"key": _text(prefix), "range_end": _text(end_of(prefix))}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _words(error: Exception) -> str:
    """Its own, or those of what it came of: httpx has none for a connection that the other side ended."""
    if isinstance(error, httpx.TimeoutException):
        return f"it did not answer within {TIMEOUT:g} s"
    cause: BaseException | None = error
    while cause is not None:
        if str(cause):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _refusal(status: int, content: bytes) -> EtcdError:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        # Plain text where a client's certificate has a common name and etcd has users.
        return EtcdError(": ".join(filter(None, (f"HTTP status {status}", _readable(content)))))
    code = found.get("code", found.get("grpc_code", 0))
    message = str(found.get("message") or found.get("error") or f"HTTP status {status}")[:MAX_REASON]
    return CompactedError(message) if code == COMPACTED else EtcdError(message, code if isinstance(code, int) else 0)


def _readable(content: bytes) -> str:
    """The beginning of what is no JSON, on one line."""
    text = content[: 4 * MAX_REASON].decode(errors="replace")
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:MAX_REASON]


async def _pump(answer: httpx.Response, task_status: trio.TaskStatus[trio.MemoryReceiveChannel[bytes]]) -> None:
    """Read in a task of its own, which can only be cancelled while it reads.

    httpx reads by generators within each other, which nobody closes where one is left in the middle.
    """
    sender, receiver = trio.open_memory_channel[bytes](inf)
    with sender:
        task_status.started(receiver)
        with suppress(httpx.HTTPError):  # the watch has ended
            async for data in answer.aiter_raw():
                sender.send_nowait(data)


async def _take_all(coming: trio.MemoryReceiveChannel[bytes], take: Take) -> None:
    """Messages are JSON objects, each on a line of its own.  Raises EtcdError."""
    held = bytearray()
    async for data in coming:
        held += data
        *lines, rest = held.split(b"\n")
        held = rest
        if len(held) > MAX_LINE:
            raise EtcdError("a message without an end")
        for line in filter(None, lines):
            message = _object(bytes(line))
            if "error" in message:
                raise _refusal(0, json.dumps(message["error"]).encode())
            result = _dict(message, "result")
            if result.get("canceled"):
                reason = str(result.get("cancel_reason") or "the watch was ended")[:MAX_REASON]
                raise CompactedError(reason) if _integer(result, "compact_revision") else EtcdError(reason)
            await take(_header(result).revision, [_event_of(each) for each in _list(result, "events")])


def _object(content: bytes) -> dict[str, Any]:
    try:
        return read_object(content)
    except ValueError as error:
        raise EtcdError(f"it answered what is {error}: is it etcd?") from None


def _dict(given: Mapping[str, Any], field: str) -> dict[str, Any]:
    value = given.get(field)
    if not isinstance(value, dict):
        raise EtcdError(f"its answer has no {field}: is it etcd?")
    return value


def _list(given: Mapping[str, Any], field: str) -> list[Any]:
    value = given.get(field, [])
    if not isinstance(value, list):
        raise EtcdError(f"{field} in its answer is no list: is it etcd?")
    return value


def _integer(given: Mapping[str, Any], field: str) -> int:
    """The gateway writes 64 bits as text."""
    value = given.get(field, 0)
    try:
        return int(value)
    except (OverflowError, TypeError, ValueError):
        raise EtcdError(f"{field} in its answer is no integer: is it etcd?") from None


def _header(given: Mapping[str, Any]) -> Header:
    header = _dict(given, "header")
    return Header(str(header.get("cluster_id", "")), _integer(header, "revision"))


def _event(given: Any, *, deleted: bool = False) -> Event:
    try:
        key = base64.b64decode(given["key"], validate=True)
        return Event(key, None if deleted else base64.b64decode(given.get("value", ""), validate=True))
    except (AttributeError, KeyError, TypeError, binascii.Error, ValueError):
        raise EtcdError("its answer has what is no key with its value: is it etcd?") from None


def _event_of(given: Any) -> Event:
    if not isinstance(given, dict):
        raise EtcdError("its answer has what is no event: is it etcd?")
    return _event(_dict(given, "kv"), deleted=given.get("type", "PUT") == "DELETE")

"""The control channel of a daemon with workers: one answer for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import attrs
import trio

from ..control import STATUS_PAUSE, BadRequest, Control, trace_of, until_gone, write
from ..paced import Paced
from ..status import Status
from .parent import Parent
from .process import WorkerError
from .worker import Worker


@attrs.define(eq=False)
class ParentControl(Control):
    """See `responder.daemon.control`."""

    _parent: Parent
    _status: Paced[Status] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._status = Paced(self._parent.status, STATUS_PAUSE)

    async def answer(self, stream: trio.SocketStream, request: dict[str, Any]) -> None:
        match request:
            case {"request": "status"}:
                await write(stream, [{"status": {**(await self._status()).as_json(), "control": self.counts()}}])
            case {"request": "recent"}:
                await write(stream, [{"recent": await self._parent.recent()}])
            case {"request": "reload"}:
                messages = await self._parent.reload()
                await write(stream, [{"reload": messages, "restart": self._parent.waiting_for_restart()}])
            case {"request": "trace"}:
                trace_of(
                    request, (await self._status()).as_json(), lambda _seen: {}
                )  # what is wrong with it is told here
                await self._trace(stream, request)
            case _:
                raise BadRequest("expected one of the requests: status, recent, reload, trace")

    async def _trace(self, stream: trio.SocketStream, request: Mapping[str, Any]) -> None:
        await write(stream, [{"tracing": True}])
        send, receive = trio.open_memory_channel[dict[str, Any]](0)
        async with send, receive, trio.open_nursery() as nursery:
            nursery.start_soon(until_gone, stream, nursery.cancel_scope)
            for worker in self._parent.workers:
                nursery.start_soon(_follow, worker, request, send)
            async for line in receive:
                await write(stream, [line])


async def _follow(worker: Worker, request: Mapping[str, Any], send: trio.MemorySendChannel[dict[str, Any]]) -> None:
    """Pass on what a worker traces, and the process that is started in its place."""
    while True:
        await worker.serving.wait()
        process, over = worker.process, worker.over
        if process is not None:
            with suppress(WorkerError):
                async with process.answers(request) as answers:
                    async for line in answers:
                        if "tracing" not in line:
                            await send.send(line)
        await over.wait()

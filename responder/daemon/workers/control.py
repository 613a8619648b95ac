"""The control channel of a daemon with workers: one answer for all of them.

This file refuses to answer for one worker: each answers its parent itself (`responder.daemon.workers.worker`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import attrs
import trio

from ..control import STATUS_PAUSE, BadRequest, Control, trace_of, until_gone, write
from ..status import Paced, Status
from .process import Worker, WorkerGone
from .team import Team


@attrs.define(eq=False)
class TeamControl(Control):
    """See `responder.daemon.control`."""

    _team: Team
    _status: Paced[Status] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._status = Paced(self._team.status, STATUS_PAUSE)

    async def answer(self, stream: trio.SocketStream, request: dict[str, Any]) -> None:
        match request:
            case {"request": "status"}:
                await write(stream, [{"status": {**(await self._status()).as_json(), "control": self.counts()}}])
            case {"request": "reload"}:
                await write(stream, [{"reload": await self._team.reload()}])
            case {"request": "trace"}:
                trace_of(request, (await self._status()).as_json())  # what is wrong with it is told here
                await self._trace(stream, request)
            case _:
                raise BadRequest("expected one of the requests: status, reload, trace")

    async def _trace(self, stream: trio.SocketStream, request: Mapping[str, Any]) -> None:
        await write(stream, [{"tracing": True}])
        send, receive = trio.open_memory_channel[dict[str, Any]](0)
        async with send, receive, trio.open_nursery() as nursery:
            nursery.start_soon(until_gone, stream, nursery.cancel_scope)
            for worker in self._team.workers:
                nursery.start_soon(_follow, worker, request, send)
            async for line in receive:
                await write(stream, [line])


async def _follow(worker: Worker, request: Mapping[str, Any], send: trio.MemorySendChannel[dict[str, Any]]) -> None:
    """Pass on what a worker traces, and the one that is started in its place."""
    while True:
        await worker.ready.wait()
        process, over = worker.process, worker.over
        if process is not None:
            with suppress(WorkerGone):
                async with process.answers(request) as answers:
                    async for line in answers:
                        if "tracing" not in line:
                            await send.send(line)
        await over.wait()

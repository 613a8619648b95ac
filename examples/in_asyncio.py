"""The framework in an asyncio program: trio runs as a guest in asyncio's loop, in the same thread.

    python examples/in_asyncio.py

trio's guest mode (`trio.lowlevel.start_guest_run`) lets both loops take turns, so that asyncio code and plugins may
call each other's plain functions.  What awaits must await its own loop's things.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import attrs
import outcome
import trio

from responder import Answer, Datagram, Plugin, Server, Service, serve


@attrs.frozen
class Counter(Plugin):
    """Counts who asks, and tells the asyncio program of each."""

    asked: asyncio.Queue[str]

    services: ClassVar = (Service(port=7007),)

    def respond(self, request: Datagram) -> Answer:
        self.asked.put_nowait(str(request.peer.address))
        return f"number {self.asked.qsize()}".encode()


@asynccontextmanager
async def serve_in_asyncio(plugin: Plugin, **keys: Any) -> AsyncGenerator[Server, None]:
    """`responder.serve` for asyncio programs.  Raises what it raises; leaving waits for the plugin's goodbyes."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[tuple[Server, trio.lowlevel.TrioToken]] = loop.create_future()
    done: asyncio.Future[None] = loop.create_future()
    leave = trio.Event()

    async def in_trio() -> None:
        async with serve(plugin, **keys) as server:
            ready.set_result((server, trio.lowlevel.current_trio_token()))
            await leave.wait()

    def finished(result: outcome.Outcome[None]) -> None:
        """trio's loop has ended: what it raised goes to whoever waits."""
        if isinstance(result, outcome.Error) and ready.done():
            done.set_exception(result.error)
        elif isinstance(result, outcome.Error):
            ready.set_exception(result.error)
        else:
            done.set_result(None)

    trio.lowlevel.start_guest_run(
        in_trio,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=finished,
        host_uses_signal_set_wakeup_fd=True,  # asyncio does
    )
    server, token = await ready
    try:
        yield server
    finally:
        # Events are set from within trio, even though it is the same thread.
        token.run_sync_soon(leave.set)
        await done


async def ask(port: int) -> str:
    """One request by an asyncio client."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            answer.set_result(data.decode())

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Client, remote_addr=("127.0.0.1", port))
    try:
        transport.sendto(b"hello")
        return await asyncio.wait_for(answer, 5)
    finally:
        transport.close()


async def main() -> None:
    asked: asyncio.Queue[str] = asyncio.Queue()
    async with serve_in_asyncio(Counter(asked), port=0) as server:
        print(f"listening on port {server.port()}")
        print("the client hears:", await ask(server.port()))
        print("the program hears of:", await asked.get())
    print("stopped")


if __name__ == "__main__":
    asyncio.run(main())

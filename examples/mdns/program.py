"""A program that serves a page and has it found on every link while it runs.

python examples/mdns/program.py                       # until interrupted
python -m responder mdns browse _http._tcp            # from anywhere on a link
"""

from __future__ import annotations

import platform
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from responder_plugins.mdns import Mdns, ServiceOptions

from responder import serve

PAGE = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello\n"


async def answer(stream: trio.SocketStream) -> None:
    """One request, one page."""
    async with stream:
        await stream.receive_some()
        await stream.send_all(PAGE)


async def main() -> None:
    listeners = await trio.open_tcp_listeners(0)
    port = listeners[0].socket.getsockname()[1]
    service = ServiceOptions(f"Page on {platform.node()}", "_http._tcp", port, {"path": "/"})
    # What name was taken where is of no use to the next run: it may be on other links.
    with TemporaryDirectory() as state:
        async with serve(Mdns(services=(service,)), state=Path(state)):
            print(f"{service.name}: port {port}", flush=True)
            await trio.serve_listeners(answer, listeners)


if __name__ == "__main__":
    trio.run(main)

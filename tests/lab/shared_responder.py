"""A responder on a port that it shares with others, as mDNS and SSDP need it.

Run as a program with the word that it answers, the port and the groups.  Says {"event": "ready"} on stderr, and ends by
SIGTERM.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import ClassVar

import attrs
import trio

from responder import Answer, Datagram, Plugin, Service, net
from responder.config.instance import Instance, prepare_all
from responder.server.server import open_server


@attrs.frozen
class Word(Plugin):
    """Answers with a word."""

    word: str
    services: ClassVar[tuple[Service, ...]] = (Service(port=7007, shared=True),)

    def respond(self, request: Datagram) -> Answer:
        return self.word.encode()


async def serve(word: str, port: int, groups: list[str]) -> None:
    prepared = await prepare_all([Instance.of(Word(word), port=port, groups=groups)])
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with open_server(prepared, platform=net.platform()) as server, trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            await server.ready.wait()
            print(json.dumps({"event": "ready"}), file=sys.stderr, flush=True)
            async for _ in signals:
                server.stop()
                break


if __name__ == "__main__":
    trio.run(serve, sys.argv[1], int(sys.argv[2]), sys.argv[3:])

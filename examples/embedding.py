"""The framework in a trio program of one's own: no daemon, no config file, a port that the system chooses.

    python examples/embedding.py

A game server's lobby, say, answers on UDP beside whatever else the program does, and from the address that was asked.
"""

from __future__ import annotations

from typing import ClassVar

import attrs
import trio

from responder import Answer, Datagram, Network, Plugin, Service, serve


@attrs.frozen
class Lobby(Plugin):
    """Tells who asks how many players there are."""

    players: list[str] = attrs.field(factory=list[str])

    services: ClassVar = (Service(port=7007),)

    def respond(self, request: Datagram) -> Answer:
        return f"{len(self.players)} players, at {request.destination}".encode()

    async def run(self, network: Network) -> None:
        """Background work, which ends when the program leaves the context."""
        await network.stopping.wait()
        self.players.clear()


async def main() -> None:
    lobby = Lobby()
    async with serve(lobby, port=0) as server:
        print(f"listening on port {server.port()}")
        # The rest of the program: here a client, so that there is something to see.
        lobby.players.append("somebody")
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as client:
            await client.connect(("127.0.0.1", server.port()))
            await client.send(b"who is there?")
            with trio.fail_after(5):
                print((await client.recv(1500)).decode())
    print(f"stopped; {len(lobby.players)} players left")


if __name__ == "__main__":
    trio.run(main)

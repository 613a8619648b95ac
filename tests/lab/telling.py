"""A plugin that tells which process answers.  It is installed as a distribution of its own (see `test_workers`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import attrs

from responder import Answer, ConfigError, Context, Datagram, Handler, Network, Plugin, Service


@attrs.frozen
class Telling(Plugin):
    """Answers with its process's id.

    needs  a file that must be there
    fails  it does not prepare
    """

    needs: Path | None = None
    fails: bool = False

    services: ClassVar = (Service(port=7114),)
    in_each_worker: ClassVar = True

    def prepare(self, context: Context) -> Handler:
        if self.needs is not None:
            context.read_bytes(self.needs, key="needs")
        if self.fails:
            raise ConfigError("not today", path="fails")
        return self

    def respond(self, request: Datagram) -> Answer:
        return str(os.getpid()).encode()

    async def run(self, network: Network) -> None:
        await network.stopping.wait()

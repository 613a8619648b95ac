"""A reload on Linux's socket, by the compiled module and without it: it holds for the next datagram on."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest
import trio

from tests.requirements import lacks_compiled

if missing := lacks_compiled():
    pytest.skip(missing, allow_module_level=True)

from responder.config.instance import Instance, Prepared
from responder.net.linux.platform import LinuxPlatform
from responder.server.server import ServerCore, open_server
from tests.responder.dispatch.bench import Probe

from ..support import PATIENCE
from .native_support import bound, drained

pytestmark = pytest.mark.parametrize("use_compiled", [True, False], ids=["compiled", "plain"])


def prepared(plugin: Probe, **keys: object) -> Prepared:
    return Prepared(Instance.of(plugin, "a", port=0, groups=[], **keys), plugin)


@asynccontextmanager
async def serving(first: Prepared, use_compiled: bool) -> AsyncIterator[ServerCore]:
    async with (
        open_server([first], platform=LinuxPlatform(use_compiled=use_compiled)) as server,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(server.run)
        with trio.fail_after(PATIENCE):
            await server.ready.wait()
            yield server
        server.stop()


async def asked(client: trio.socket.SocketType, server: ServerCore, times: int = 1) -> list[bytes]:
    """What it is answered.  A flow is known for good once it has asked twice."""
    heard = []
    for _ in range(times):
        await client.sendto(b"x", ("127.0.0.1", server.port()))
        heard.append(await client.recv(100))
    return heard


async def test_one_who_may_not_ask_any_more_is_not_answered(use_compiled: bool) -> None:
    with bound("127.0.0.2") as sock, bound("127.0.0.3") as other_sock:
        denied, other = map(trio.socket.from_stdlib_socket, (sock, other_sock))
        async with serving(prepared(Probe()), use_compiled) as server:
            for client in (denied, other):
                assert await asked(client, server, 3) == [b"x"] * 3
            await server.replace([prepared(Probe(), deny=["127.0.0.2/32"])])
            await denied.sendto(b"x", ("127.0.0.1", server.port()))
            assert await asked(other, server) == [b"x"]
            assert list(drained(sock)) == []


@pytest.mark.parametrize("is_watched", [False, True])
async def test_what_was_replaced_is_given_back(use_compiled: bool, is_watched: bool) -> None:
    """Though all who asked it are remembered."""
    with ExitStack() as stack:
        addresses = [f"127.0.0.{number}" for number in range(2, 12)]
        clients = [trio.socket.from_stdlib_socket(stack.enter_context(bound(each))) for each in addresses]
        async with serving(prepared(Probe()), use_compiled) as server:
            plugin = Probe(lambda _: b"replaced")
            await server.replace([prepared(plugin)])
            gone = weakref.ref(plugin)
            del plugin
            if is_watched:
                server.observers.add(print)
            for client in clients:
                assert await asked(client, server, 3) == [b"replaced"] * 3
            if is_watched:
                server.observers.remove(print)
            await server.replace([prepared(Probe())])
            assert await asked(clients[0], server, 3) == [b"x"] * 3
            gc.collect()
            assert gone() is None

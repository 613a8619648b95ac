"""Sockets handed from one process to another: here both ends are in this one, and the sockets on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address
from textwrap import dedent

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from responder.errors import BindError
from responder.net.handover import Giver, Handed, Recipient, Shares, pair, sharing_platform, why_not_shared

pytestmark = pytest.mark.skipif(why_not_shared() != "", reason=why_not_shared())

BOUND = 20.0
"""Seconds: generous, never waited out."""

CLIENTS = 64


@pytest.fixture
def ends() -> Iterator[tuple[Giver, Recipient, Handed]]:
    giver, theirs = pair()
    handed = Handed()
    taker = Recipient(theirs.detach(), handed)
    yield giver, taker, handed
    handed.close()
    taker.close()
    giver.close()


@pytest.fixture
def shares() -> Iterator[Shares]:
    opened = sharing_platform().open_shares(2, 0, ip_address("127.0.0.1"), tcp=False)
    yield opened
    opened.close()


class TestShares:
    def test_the_kernel_divides_the_clients(self, shares: Shares) -> None:
        for _ in range(CLIENTS):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"x", ("127.0.0.1", shares.port))
        counts = []
        for sock in shares.sockets:
            count = 0
            while True:
                try:
                    sock.recv(10)
                except BlockingIOError:
                    break
                count += 1
            counts.append(count)
        assert sum(counts) == CLIENTS
        assert all(counts)

    def test_a_port_that_somebody_has_is_not_shared_with_him(self, shares: Shares) -> None:
        for count in (1, 2):
            with pytest.raises(BindError, match="is taken by"):
                sharing_platform().open_shares(count, shares.port, ip_address("127.0.0.1"))

    def test_a_port_is_had_again_while_connections_of_before_linger(self) -> None:
        """A restart: who closes first keeps a connection in TIME_WAIT (RFC 9293 section 3.6)."""
        platform, address = sharing_platform(), ip_address("127.0.0.1")
        shares = platform.open_shares(2, 0, address, tcp=True)
        assert shares.listener is not None
        with socket.create_connection(("127.0.0.1", shares.port)) as client:
            accepted, _ = shares.listener.accept()
            accepted.close()
            assert client.recv(1) == b""
        shares.close()
        with closing(platform.open_shares(2, shares.port, address, tcp=True)) as again:
            assert again.port == shares.port

    def test_other_addresses_of_a_port_of_ours_may_be_had(self, shares: Shares) -> None:
        platform = sharing_platform()
        with closing(platform.open_shares(2, shares.port, tcp=True, beside_own=True)) as wildcard:
            assert wildcard.listener is not None
            assert len({sock.getsockname()[1] for sock in wildcard.all()}) == 1

    def test_a_port_may_have_tcp_alone(self) -> None:
        with closing(sharing_platform().open_shares(0, 0, ip_address("127.0.0.1"), tcp=True)) as alone:
            assert alone.sockets == ()
            assert alone.listener is not None
            assert alone.listener.getsockname()[1] == alone.port
            with closing(sharing_platform().open_shares(2, alone.port, ip_address("127.0.0.1"))) as datagrams:
                assert datagrams.with_(alone).all() == [*datagrams.sockets, alone.listener]
                assert datagrams.with_(alone).only(udp=False, tcp=True).all() == [alone.listener]

    def test_also_those_of_a_tcp_port(self) -> None:
        platform = sharing_platform()
        with (
            closing(platform.open_shares(2, 0, tcp=True)) as wildcard,
            closing(
                platform.open_shares(2, wildcard.port, ip_address("127.0.0.1"), tcp=True, beside_own=True)
            ) as narrow,
        ):
            assert narrow.listener is not None
            # Another program's listener is still found.
            with pytest.raises(BindError, match="is taken by"):
                platform.open_tcp(wildcard.port)

    def test_where_a_part_cannot_be_had_nothing_stays(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            for _ in range(2):
                with pytest.raises(BindError, match=f"TCP port {port}"):
                    sharing_platform().open_shares(2, port, ip_address("127.0.0.1"), tcp=True)


class TestHandingOver:
    async def test_ports_and_connections_arrive_in_order(
        self, ends: tuple[Giver, Recipient, Handed], shares: Shares
    ) -> None:
        giver, taker, handed = ends
        with trio.fail_after(BOUND):
            await giver.give(shares, 1)
            ours = await giver.connect()
            theirs = await taker.accept()
            await ours.send_all(b"hello")
            assert await theirs.receive_some(10) == b"hello"
            assert await taker.admit(theirs)
            await ours.aclose()
            await theirs.aclose()
        handed.use_next()
        got = handed.claim(socket.SOCK_DGRAM, shares.port, ip_address("127.0.0.1"), 0)
        assert got is not None
        with got:
            # The same socket, and not the other one of that name.
            assert os.fstat(got.fileno()).st_ino == os.fstat(shares.sockets[1].fileno()).st_ino
            assert not got.get_inheritable()

    async def test_many_at_once_stay_whole(self, ends: tuple[Giver, Recipient, Handed]) -> None:
        giver, taker, _ = ends
        ours: list[trio.SocketStream] = []

        async def ask(text: bytes) -> None:
            stream = await giver.connect()
            ours.append(stream)
            await stream.send_all(text)

        said = set()
        with trio.fail_after(BOUND):
            async with trio.open_nursery() as nursery:
                for each in range(50):
                    nursery.start_soon(ask, str(each).encode())
                for _ in range(50):
                    async with await taker.accept() as stream:
                        said.add(await stream.receive_some(10))
            for stream in ours:
                await stream.aclose()
        assert said == {str(each).encode() for each in range(50)}

    async def test_each_learns_of_the_others_end(self, ends: tuple[Giver, Recipient, Handed]) -> None:
        giver, taker, _ = ends
        with trio.fail_after(BOUND):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(taker.accept)
                await wait_all_tasks_blocked()
                giver.finish()
                await taker.ended.wait()
                nursery.cancel_scope.cancel()
            taker.close()
            await giver.ended()
            with pytest.raises(trio.BrokenResourceError):
                await giver.connect()


class TestHanded:
    def test_no_port_but_those_handed_over(self, shares: Shares) -> None:
        with closing(Handed()) as handed:
            handed.add(shares.sockets[0].dup())
            handed.use_next()
            with pytest.raises(BindError, match="port 7: not handed over"):
                handed.claim(socket.SOCK_DGRAM, 7, None, 0)
            # A conversation's own: the system chooses.
            assert handed.claim(socket.SOCK_DGRAM, 0, None, 0) is None

    def test_the_next_set_takes_the_place_of_the_last(self, shares: Shares) -> None:
        with closing(Handed()) as handed:
            address, port = ip_address("127.0.0.1"), shares.port
            handed.add(shares.sockets[0].dup())
            handed.drop_next()
            handed.use_next()
            with pytest.raises(BindError):
                handed.claim(socket.SOCK_DGRAM, port, address, 0)
            handed.add(shares.sockets[0].dup())
            handed.use_next()
            first = handed.claim(socket.SOCK_DGRAM, port, address, 0)
            assert first is not None
            handed.use_next()
            assert first.getsockname()[1] == port  # what was claimed lives on
            first.close()
            with pytest.raises(BindError):
                handed.claim(socket.SOCK_DGRAM, port, address, 0)


def test_a_process_that_is_held_up_ends_with_its_parent() -> None:
    giver, theirs = pair()
    program = """
        import sys, time
        from responder.net.handover import Handed, Recipient
        recipient = Recipient(int(sys.argv[1]), Handed())  # which is kept: its socket is closed when it goes
        recipient.end_with_parent(lambda: 0.0)
        print("up", flush=True)
        time.sleep(600)
    """
    with theirs:
        descriptor = theirs.fileno()
        argv = [sys.executable, "-c", dedent(program), str(descriptor)]
        process = subprocess.Popen(argv, pass_fds=(descriptor,), stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        giver.close()
        assert process.wait(BOUND) == 1

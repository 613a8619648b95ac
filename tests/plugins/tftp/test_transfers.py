"""Transfers on the fake network: options, loss, strangers, and how they end."""

from __future__ import annotations

import io
from pathlib import Path

import attrs
import pytest
import trio
from responder_plugins.shared.file_threads import FileThreads
from responder_plugins.tftp.files import Blocks
from responder_plugins.tftp.handler import RESTARTED
from responder_plugins.tftp.message import Terms
from responder_plugins.tftp.transfer import TRIES, TRIES_UNPROVED, Transfer
from trio.testing import MockClock

from responder.testing import NoAnswer, settled

from .support import DATA, ack, code_of, content, opcode_of, request, serving


class TestReading:
    @pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1024, 100_000, 300_000])
    async def test_a_file_of_any_size(self, root: Path, size: int) -> None:
        (root / "file").write_bytes(content(size))
        async with serving(root) as tftp:
            assert await tftp.fetch(request()) == (content(size), {})
            await settled()
            assert tftp.counts == {"begun": 1, "done": 1}

    async def test_from_a_port_of_its_own_by_the_address_that_was_asked(self, root: Path) -> None:
        async with serving(root) as tftp:
            ports = set()
            for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
                conversation = await tftp.at.begin(request("empty"), address)
                assert str(conversation.peer.address) == address
                ports.add(conversation.peer.port)
                await conversation.send(ack(1))
            assert len(ports | {69}) == 4

    @pytest.mark.parametrize("mode", ["octet", "OCTET", "Octet"])
    async def test_the_mode_in_any_case(self, root: Path, mode: str) -> None:
        async with serving(root) as tftp:
            assert (await tftp.fetch(request("text", mode)))[0] == b"one\ntwo\r\nthree\r"

    async def test_netascii(self, root: Path) -> None:
        """RFC 764: a line's end is CR LF, and a CR of its own is CR NUL."""
        async with serving(root) as tftp:
            data, told = await tftp.fetch(request("text", "netascii", tsize=0, blksize=8))
            assert data == b"one\r\ntwo\r\0\r\nthree\r\0"
            assert told == {"blksize": "8"}, "its size is not known before it is translated"
            (root / "text").write_bytes(b"\n\r" * 100_000)
            data, _ = await tftp.fetch(request("text", "netascii", blksize=1428))
            assert data == b"\r\n\r\0" * 100_000

    async def test_block_numbers_begin_anew(self) -> None:
        """After 65535 comes 0."""
        expected = content(8 * 65_540)
        peer = Taker(window=64)
        blocks = Blocks(io.BytesIO(expected), 8, is_netascii=False)
        await Transfer(peer, blocks, Terms(8, 64), lambda: None, FileThreads()).run(None)
        assert b"".join(peer.data) == expected


@attrs.define
class Taker:
    """A conversation with a peer that acknowledges each whole window, and the last block."""

    window: int
    data: list[bytes] = attrs.field(factory=list)
    port: int = 0

    async def send(self, *payloads: bytes) -> None:
        for payload in payloads:
            assert payload[2:4] == ((len(self.data) + 1) & 0xFFFF).to_bytes(2)
            self.data.append(payload[4:])

    async def receive(self) -> bytes:
        assert len(self.data) % self.window == 0 or len(self.data[-1]) < 8
        return ack(len(self.data))


class TestOptions:
    @pytest.mark.parametrize(
        ("asked", "told"),
        [
            ({"blksize": 1428}, {"blksize": "1428"}),
            ({"BLKSIZE": 8}, {"blksize": "8"}),
            ({"blksize": 65464}, {"blksize": "65464"}),
            ({"tsize": 0}, {"tsize": "5000"}),
            ({"timeout": 60}, {"timeout": "60"}),
            ({"windowsize": 16}, {"windowsize": "16"}),
            ({"windowsize": 65535}, {"windowsize": "64"}),
            ({"windowsize": 64, "blksize": 65464}, {"blksize": "65464", "windowsize": "2"}),
            ({"tsize": 0, "multicast": "", "blksize": 512}, {"blksize": "512", "tsize": "5000"}),
        ],
    )
    async def test_what_is_agreed_on(self, root: Path, asked: dict[str, int], told: dict[str, str]) -> None:
        async with serving(root) as tftp:
            assert await tftp.fetch(request(**asked)) == (content(5_000), told)

    @pytest.mark.parametrize(
        "asked",
        [
            {"blksize": 7},
            {"blksize": 65465},
            {"blksize": "x"},
            {"blksize": ""},
            {"blksize": "9" * 400},
            {"blksize": "\u0664\u0665"},
            {"timeout": 0},
            {"timeout": 61},
            {"windowsize": 0},
            {"windowsize": 65536},
            {"unheard-of": 1},
        ],
    )
    async def test_what_is_out_of_bounds_is_as_if_not_asked(self, root: Path, asked: dict[str, int]) -> None:
        async with serving(root) as tftp:
            assert await tftp.fetch(request(**asked)) == (content(5_000), {})

    async def test_padding_behind_a_request(self, root: Path) -> None:
        async with serving(root) as tftp:
            assert await tftp.fetch(request() + bytes(100)) == (content(5_000), {})


class TestLoss:
    @pytest.mark.parametrize("window", [1, 2, 16])
    async def test_blocks_that_are_lost_come_again(self, autojump_clock: MockClock, root: Path, window: int) -> None:
        (root / "file").write_bytes(content(50_000))
        async with serving(root) as tftp:
            data, _ = await tftp.fetch(request(windowsize=window), lost={3, 17, 18, 40, 41, 42, 97})
            assert data == content(50_000)

    async def test_a_lost_acknowledgment(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request())
            again = await conversation.receive()
            assert again.payload == conversation.first.payload
            assert again.time - conversation.first.time == pytest.approx(1)
            assert (await conversation.ask(ack(1))).payload[:4] == b"\0\3\0\2"

    async def test_what_a_firewall_refuses_is_lost(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request())
            tftp.at.interface.block()
            await conversation.send(ack(1))
            await trio.sleep(0.1)
            tftp.at.interface.unblock()
            heard = await conversation.receive()
            assert (heard.payload[2:4], heard.time) == (b"\0\2", pytest.approx(0.2))
            assert tftp.counts == {"begun": 1}

    async def test_the_time_is_what_acknowledgments_take(self, autojump_clock: MockClock, root: Path) -> None:
        """RFC 1123 section 4.2.3.2; one for a packet that was sent twice tells nothing (RFC 6298 section 3)."""
        (root / "file").write_bytes(bytes(60 * 512))
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request())
            for number in range(1, 31):
                await trio.sleep(0.5)
                assert (await conversation.ask(ack(number))).payload[2:4] == (number + 1).to_bytes(2)
            sent_at = trio.current_time()
            waited = [(await conversation.receive()).time - sent_at for _ in range(2)]
            assert waited == pytest.approx([0.5, 1.5], abs=0.01)
            await conversation.ask(ack(31))
            sent_at = trio.current_time()
            assert (await conversation.receive()).time - sent_at == pytest.approx(2, abs=0.05)
            await conversation.ask(ack(32))
            await conversation.ask(ack(33))
            sent_at = trio.current_time()
            assert (await conversation.receive()).time - sent_at < 1.1

    async def test_no_sorcerers_apprentice(self, autojump_clock: MockClock, root: Path) -> None:
        """RFC 1123 section 4.2.3.1: acknowledgments that come twice double nothing."""
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request())
            for number in range(1, 9):
                for _ in range(3):
                    await conversation.send(ack(number))
                await settled()
                assert [heard.payload[2:4] for heard in tftp.at.client.heard()] == [(number + 1).to_bytes(2)]

    async def test_of_a_window_the_first_block_that_is_missing_comes_again_once(
        self, autojump_clock: MockClock, root: Path
    ) -> None:
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request(windowsize=4))
            await conversation.send(ack(0))
            await settled()
            assert [heard.payload[3] for heard in tftp.at.client.heard()] == [1, 2, 3, 4]
            for _ in range(3):
                await conversation.send(ack(0))
            await settled()
            assert [heard.payload[3] for heard in tftp.at.client.heard()] == [1, 2, 3, 4]
            await conversation.send(ack(2))
            await settled()
            assert [heard.payload[3] for heard in tftp.at.client.heard()] == [3, 4, 5, 6]

    async def test_the_agreed_time(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request(timeout=3))
            first = await conversation.ask(ack(0))
            second = await conversation.receive()
            assert second.payload == first.payload
            assert second.time - first.time == pytest.approx(3)


class TestEnds:
    async def test_who_says_nothing_gets_few_packets(self, autojump_clock: MockClock, root: Path) -> None:
        """A forged source: what is sent to it is one block, so many times."""
        async with serving(root) as tftp:
            heard = await tftp.at.exchange(request(), within=100)
            assert [opcode_of(each.payload) for each in heard] == [DATA] * TRIES_UNPROVED
            heard = await tftp.at.exchange(request(blksize=65464, windowsize=64), within=100)
            assert sum(len(each.payload) for each in heard) <= TRIES_UNPROVED * len(
                request(blksize=65464, windowsize=64)
            )

    async def test_who_falls_silent_is_left(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request())
            await conversation.send(ack(1))
            heard = await tftp.at.collect(within=100)
            # The acknowledgment took no time, so the least that there is, doubled up to 8 s, for half a minute.
            assert [each.payload[2:4] for each in heard] == [b"\0\2"] * 9
            moments = [each.time - heard[0].time for each in heard]
            assert moments == pytest.approx([0, 0.2, 0.6, 1.4, 3, 6.2, 12.6, 20.6, 28.6])
            assert tftp.counts == {"begun": 1, "timed-out": 1}
            assert tftp.handler.running.places == {}

    async def test_who_asked_for_a_time_gets_so_many_packets(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request(timeout=2))
            await conversation.send(ack(0))
            heard = await tftp.at.collect(within=100)
            assert [each.time - heard[0].time for each in heard] == pytest.approx([2 * each for each in range(TRIES)])

    async def test_an_error_of_the_peers(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request())
            await conversation.send(b"\0\5\0\0enough\0")
            assert await tftp.at.collect(within=100) == []
            assert tftp.counts == {"begun": 1, "ended-by-peer": 1}

    async def test_a_stranger_is_told_and_the_transfer_goes_on(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request())
            stranger = tftp.at.client.host.client()
            heard = await stranger.ask(ack(1), "192.0.2.1", conversation.peer.port)
            assert code_of(heard.payload) == 5
            with pytest.raises(NoAnswer):
                await stranger.ask(b"\0\5\0\5\0", "192.0.2.1", conversation.peer.port, within=0.1)
            assert (await conversation.ask(ack(1))).payload[:4] == b"\0\3\0\2"

    async def test_a_file_that_can_no_longer_be_read(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_arguments: object) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr("responder_plugins.tftp.files.Blocks.read", fail)
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request())
            assert code_of(conversation.first.payload) == 0
            await settled()
            assert tftp.counts == {"begun": 1, "read-failed": 1}


class TestRepeatedRequests:
    async def test_the_same_one_again_begins_nothing(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request())
            assert await tftp.at.exchange(request()) == []
            assert (await conversation.ask(ack(1))).payload[:4] == b"\0\3\0\2"
            assert await tftp.at.exchange(request()) == [], "nor while the peer is heard"
            assert tftp.counts == {"begun": 1, "repeated": 2}

    async def test_another_one_from_the_same_port_is_a_new_transfer(
        self, autojump_clock: MockClock, root: Path
    ) -> None:
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request())
            other = await tftp.at.begin(request("empty"))
            assert other.peer.port != conversation.peer.port
            assert tftp.counts == {"begun": 2, "gave-way": 1}

    async def test_a_peer_that_was_started_anew(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request())
            await conversation.ask(ack(1))
            await trio.sleep(RESTARTED)
            tftp.at.client.heard()
            again = await tftp.at.begin(request())
            assert again.first.payload == conversation.first.payload

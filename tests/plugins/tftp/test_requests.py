"""Which requests get a file, which an error, and which silence; nothing outside of the root is ever read."""

from __future__ import annotations

import os
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from responder_plugins.tftp import Tftp
from responder_plugins.tftp.files import Outside, path_of
from responder_plugins.tftp.message import read_request
from trio.testing import MockClock

from responder import ConfigError, Context, PeerError
from responder.testing import amplifies_at_most, hostile, instances, never_answers, settled

from .support import ack, code_of, content, request, serving

NAMES_OF_NOTHING = [
    "..",
    "../secret",
    "sub/../../secret",
    "sub/../../boot/file",
    "sub\\..\\..\\secret",
    "..\\secret",
    "/../secret",
    ".../file",
    "C:file",
    "C:/boot/file",
    "c:\\boot\\file",
    "file:stream",
    "file::$DATA",
    "con",
    "NUL",
    "nul.txt",
    "Com1",
    "lpt9.cfg",
    "COM\u00b9",
    "sub/aux",
    "file.",
    "file ",
    "sub./file",
    "fi\x01le",
    "fi\nle",
    "file\u202e",
    "f*",
    "f?le",
    '"file"',
    "<file",
    "a|b",
    ".",
    "/",
    "\\",
    b"\xff\xfe",
    b"\xc0\xae\xc0\xae/secret",
]


@pytest.fixture(autouse=True)
def around(root: Path) -> None:
    """What is to be read, and what is not."""
    (root / "sub").mkdir()
    (root / "sub" / "deep").write_bytes(b"deep")
    (root.parent / "secret").write_bytes(b"secret")
    (root.parent / "boot2").mkdir()
    (root.parent / "boot2" / "file").write_bytes(b"secret")


class TestNames:
    @pytest.mark.parametrize(
        "name", ["sub/deep", "/sub/deep", "//sub//deep", "./sub/./deep", "sub\\deep", "\\sub\\deep"]
    )
    async def test_below_the_root(self, root: Path, name: str) -> None:
        async with serving(root) as tftp:
            assert (await tftp.fetch(request(name)))[0] == b"deep"

    @pytest.mark.parametrize("name", NAMES_OF_NOTHING, ids=repr)
    async def test_nothing_else(self, root: Path, name: str | bytes) -> None:
        async with serving(root) as tftp:
            assert code_of((await tftp.at.ask(request(name))).payload) == 2
            assert tftp.counts == {"outside": 1}

    @pytest.mark.parametrize("name", ["missing", "sub", "sub/missing", "file/sub", "x" * 300])
    async def test_what_is_not_there(self, root: Path, name: str) -> None:
        async with serving(root) as tftp:
            # Windows does not say of a folder that it is none.
            wanted = {1, 2} if sys.platform == "win32" else {1}
            assert code_of((await tftp.at.ask(request(name))).payload) in wanted

    @pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
    async def test_links(self, root: Path) -> None:
        """Those within the root are followed, as boot folders have them."""
        (root / "within").symlink_to("sub/deep")
        (root / "around").symlink_to("../boot/sub/deep")
        (root / "out").symlink_to(root.parent / "secret")
        (root / "folder").symlink_to("..")
        (root / "sub" / "beside").symlink_to("../../boot2")
        (root / "circle").symlink_to("circle")
        async with serving(root) as tftp:
            for name in ("within", "around", "folder/boot/sub/deep"):
                assert (await tftp.fetch(request(name)))[0] == b"deep", name
            for name in ("out", "folder/secret", "sub/beside/file"):
                assert code_of((await tftp.at.ask(request(name))).payload) == 2, name
            assert code_of((await tftp.at.ask(request("circle"))).payload) in {1, 2}

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs")
    async def test_a_fifo_is_not_waited_for(self, root: Path) -> None:
        os.mkfifo(root / "pipe")
        async with serving(root) as tftp:
            assert code_of((await tftp.at.ask(request("pipe"))).payload) == 1

    async def test_what_may_not_be_read(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_arguments: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("responder_plugins.tftp.files.open_regular", refuse)
        async with serving(root) as tftp:
            assert code_of((await tftp.at.ask(request())).payload) == 2
            assert tftp.counts == {"unreadable": 1}

    @given(hostile(b"sub/deep", b"../secret", b"/../boot/./file"))
    def test_whatever_the_name(self, name: bytes) -> None:
        here = Path(__file__).resolve().parent
        try:
            found = path_of(here, name)
        except (Outside, OSError):
            return
        assert here in found.parents


class TestOtherRequests:
    async def test_nothing_is_written(self, root: Path) -> None:
        async with serving(root) as tftp:
            assert code_of((await tftp.at.ask(request("new", opcode=2))).payload) == 2
            assert code_of((await tftp.at.ask(request("file", opcode=2))).payload) == 2
            assert tftp.counts == {"write-refused": 2}
        assert sorted(path.name for path in root.iterdir()) == ["empty", "file", "sub", "text"]

    async def test_other_modes(self, root: Path) -> None:
        async with serving(root) as tftp:
            for mode in ("mail", "binary"):
                assert code_of((await tftp.at.ask(request(mode=mode))).payload) == 4

    async def test_what_is_no_request(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root) as tftp:
            await never_answers(
                tftp.at,
                b"",
                b"\0\1",
                b"\0\1file",
                b"\0\1file\0",
                b"\0\1\0octet\0",
                b"\0\1file\0octet",
                b"\0\1file\0\0",
                request("x" * 520),
                ack(1),
                b"\0\3\0\1data",
                b"\0\5\0\0error\0",
                b"\0\6blksize\x00512\0",
                b"\0\7file\0octet\0",
            )
            assert tftp.counts == {"malformed": 8, "stray": 5}

    @pytest.mark.parametrize("to", ["192.0.2.255", "255.255.255.255"])
    async def test_a_broadcast_request(self, autojump_clock: MockClock, root: Path, to: str) -> None:
        """RFC 1123 section 4.2.3.5."""
        async with serving(root) as tftp:
            await never_answers(tftp.at, request(), to=to)
            assert tftp.counts == {"not-unicast": 1}

    @given(hostile(request(), request(blksize=1428, tsize=0), request(opcode=2)))
    def test_whatever_comes(self, payload: bytes) -> None:
        try:
            asked = read_request(payload)
        except PeerError:
            return
        assert payload.startswith(asked.opcode.to_bytes(2) + asked.name + b"\0")


class TestBounds:
    async def test_one_peer_has_so_many(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root, max_per_peer=2) as tftp:
            clients = [tftp.at.client.host.client() for _ in range(3)]
            held = [await client.begin(request(), "192.0.2.1", 69) for client in clients[:2]]
            await clients[2].send(request(), "192.0.2.1", 69)
            await settled()
            assert clients[2].heard() == []
            assert tftp.counts == {"begun": 2, "busy": 1}
            await held[0].send(b"\0\5\0\0enough\0")
            await settled()
            assert await clients[2].begin(request(), "192.0.2.1", 69)

    async def test_who_is_heard_is_driven_out_by_nobody(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root, max_transfers=3) as tftp:
            conversation = await tftp.at.begin(request())
            await conversation.ask(ack(1))
            for number in range(1_000):
                tftp.at.spoof(request(), str(IPv4Address("100.64.0.1") + number))
                if number % 100 == 0:
                    await settled()
            await settled()
            assert len(tftp.handler.running.places) == 3
            for number in range(2, 10):
                assert (await conversation.ask(ack(number))).payload[2:4] == (number + 1).to_bytes(2)

    async def test_where_all_are_heard_a_new_one_waits(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root, max_transfers=1) as tftp:
            conversation = await tftp.at.begin(request())
            await conversation.ask(ack(1))
            other = tftp.at.client.host.client()
            await other.send(request(), "192.0.2.1", 69)
            await settled()
            assert other.heard() == []
            assert tftp.counts == {"begun": 1, "busy": 1}

    async def test_forged_sources_leave_nothing(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root, max_transfers=50) as tftp:
            for number in range(3_000):
                tftp.at.spoof(request("missing" if number % 2 else "file"), str(IPv4Address("100.64.0.1") + number))
                if number % 250 == 0:
                    await settled()
            await settled()
            running = tftp.handler.running
            assert len(running.places) == len(running._silent) == len(running._of_peer) <= 50
            assert await tftp.at.collect(within=30) == []
            assert not running.places
            assert not running._silent
            assert not running._of_peer

    async def test_amplification(self, autojump_clock: MockClock, root: Path) -> None:
        """As the README has it: who says nothing gets a block twice, or the acknowledgment of its options."""
        (root / "f").write_bytes(bytes(600))
        async with serving(root) as tftp:
            assert await amplifies_at_most(tftp.at, 103.2, request("f"), within=60) == 2 * 516 / 10
            assert await amplifies_at_most(tftp.at, 2, request("f", blksize=65464), within=60) == 2 * 16 / 24
            os.truncate(root / "f", 10**10)
            every = {"blksize": 1428, "tsize": 0, "timeout": 1, "windowsize": 16}
            assert await amplifies_at_most(tftp.at, 2.4, request("f", **every), within=60) == 2 * 57 / 55
            assert await amplifies_at_most(tftp.at, 2.4, request("f", tsize=""), within=60) == 2 * 20 / 17

    async def test_over_its_rate_no_transfer_begins(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root, rate=1) as tftp:
            await tftp.at.begin(request())
            assert await tftp.at.exchange(request("empty")) == []
            assert tftp.at.outcomes()["rate"] == 1

    async def test_a_reload_keeps_them(self, autojump_clock: MockClock, root: Path) -> None:
        async with serving(root) as tftp:
            conversation = await tftp.at.begin(request())
            await conversation.ask(ack(1))
            await tftp.at.server.replace(Tftp(root, max_transfers=7))
            assert (await conversation.ask(ack(2))).payload[:4] == b"\0\3\0\3"
            assert tftp.handler.running.limit == 7


class TestOptions:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "plugins.tftp.root: .*required|missing"),
            ('root = "boot"\nmax_transfers = 0', r"plugins.tftp.max_transfers: expected 1..1000, got 0"),
            ('root = "boot"\nmax_transfers = 1001', r"expected 1..1000, got 1001"),
            ('root = "boot"\nmax_per_peer = 0', r"plugins.tftp.max_per_peer: expected 1..1000"),
        ],
    )
    def test_mistakes(self, root: Path, text: str, message: str) -> None:
        with pytest.raises(Exception, match=message):
            instances(f"[plugins.tftp]\n{text}\n", folder=root.parent)

    @pytest.mark.parametrize(
        ("name", "message"), [("missing", "root: can't be read"), ("secret", "root: is no folder")]
    )
    def test_a_root_that_is_none(self, root: Path, name: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            Tftp(Path(name)).prepare(Context("tftp", root.parent))

    def test_a_change_within_the_root_is_no_change_of_the_config(self, root: Path) -> None:
        context = Context("tftp", root.parent)
        Tftp(Path("boot")).prepare(context)
        assert context.files == {}

    async def test_a_relative_root(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(root.parent)
        async with serving(Path("boot")) as tftp:
            assert (await tftp.fetch(request()))[0] == content(5_000)

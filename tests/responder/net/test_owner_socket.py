"""The owner's way in, in both forms, and what a dead or a living daemon leaves there."""

# ruff: noqa: ASYNC221 - nothing else runs in these loops that blocking could hold up

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from responder.errors import NetworkError
from responder.net import owner_socket
from responder.net.owner_socket import LocalListener

needs_unix = pytest.mark.skipif(owner_socket.AF_UNIX is None, reason="this Python has no Unix sockets")


@pytest.fixture(params=[pytest.param(True, id="unix", marks=needs_unix), pytest.param(False, id="tcp")])
def unix(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


Listen = Callable[[], LocalListener]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def listen(path: Path, unix: bool) -> Listen:
    return lambda: owner_socket.listen(path, unix=unix)


async def served(listener: LocalListener) -> bool:
    """Take one connection, and say whether it was admitted; an admitted one gets a byte."""
    async with await listener.accept() as stream:
        admitted = await listener.admit(stream)
        if admitted:
            with suppress(trio.BrokenResourceError):  # a probe does not wait for it
                await stream.send_all(b"!")
        return admitted


def read_one(path: Path) -> bytes:
    with owner_socket.connect(path, 5) as sock:
        return sock.recv(1)


async def test_a_client_is_admitted(listen: Listen, path: Path) -> None:
    with trio.fail_after(5), closing(listen()) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served, listener)
            assert await trio.to_thread.run_sync(read_one, path) == b"!"


async def test_the_path_is_the_owners_alone_and_goes_at_the_end(listen: Listen, path: Path) -> None:
    with closing(listen()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_a_socket_that_is_lost_is_had_anew(listen: Listen, path: Path) -> None:
    with trio.fail_after(5), closing(listen()) as listener:
        socket.close(listener._socket.fileno())
        with pytest.raises(NetworkError, match="none any more"):
            await listener.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served, listener)
            await trio.testing.wait_all_tasks_blocked()
            assert await trio.to_thread.run_sync(read_one, path) == b"!"
    assert not path.exists()


@pytest.mark.parametrize("sent", [b"", b"0" * 64, b"\xff" * 64, b"short"])
async def test_without_the_secret_nobody_is_admitted(path: Path, sent: bytes) -> None:
    with trio.fail_after(5), closing(owner_socket.listen(path, unix=False)) as listener:
        port = json.loads(path.read_text())["responderd"]
        async with trio.open_nursery() as nursery:
            admitted: list[bool] = []

            async def serve() -> None:
                admitted.append(await served(listener))

            nursery.start_soon(serve)
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(sent)
                await stream.send_eof()
                assert await stream.receive_some(10) == b""
    assert admitted == [False]


async def test_a_living_daemon_is_left_alone(listen: Listen, path: Path) -> None:
    with trio.fail_after(5), closing(listen()) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served, listener)  # answers the TCP form's probe
            with pytest.raises(NetworkError, match="another daemon listens there"):
                await trio.to_thread.run_sync(listen)
            nursery.cancel_scope.cancel()
        assert path.exists()


CRASH = """
import os, signal, sys
from pathlib import Path
import trio
from responder.net import owner_socket
async def main():
    listener = owner_socket.listen(Path(sys.argv[1]), unix=sys.argv[2] == "True")
    os.kill(os.getpid(), signal.SIGKILL)
trio.run(main)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
async def test_what_a_killed_daemon_left_is_replaced(listen: Listen, path: Path, unix: bool) -> None:
    killed = subprocess.run([sys.executable, "-c", CRASH, path, str(unix)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.exists()
    with pytest.raises(NetworkError, match="no daemon listens at"):
        owner_socket.connect(path, 5)
    await test_a_client_is_admitted(listen, path)


async def test_the_port_of_a_dead_daemon_may_be_another_programs_now(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_socket, "PROBE_TIMEOUT", 0.01)  # the other program never answers
    with socket.create_server(("127.0.0.1", 0)) as other:
        path.write_text(json.dumps({"responderd": other.getsockname()[1], "secret": "0" * 64}))
        with closing(owner_socket.listen(path, unix=False)):
            assert json.loads(path.read_text())["responderd"] != other.getsockname()[1]


async def test_an_empty_file_is_what_a_daemon_left_that_was_killed_early(path: Path) -> None:
    path.touch()
    owner_socket.listen(path, unix=False).close()


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_text("mine"), lambda path: path.symlink_to("/x")])
def test_what_is_not_ours_is_not_removed(listen: Listen, path: Path, make: Callable[[Path], object]) -> None:
    make(path)
    with pytest.raises(NetworkError, match="something else"):
        listen()
    assert os.path.lexists(path)


async def test_another_daemons_path_is_not_removed_at_the_end(listen: Listen, path: Path) -> None:
    first = listen()
    path.unlink()
    with closing(listen()):
        first.close()
        assert path.exists()


@pytest.mark.parametrize("folder", ["missing", "x" * 200])
def test_a_path_that_cannot_be_is_named(tmp_path: Path, unix: bool, folder: str) -> None:
    with pytest.raises(NetworkError, match=re.escape(str(Path(folder, "control")) + ": ")):
        owner_socket.listen(tmp_path / folder / "control", unix=unix)


def test_no_daemon_is_said_clearly(path: Path) -> None:
    with pytest.raises(NetworkError, match=re.escape(f"no daemon listens at {path}")):
        owner_socket.connect(path, 5)

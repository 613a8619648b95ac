"""The commands' end of the control channel: what it makes of whatever listens there."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from responder.daemon import control, control_client
from responder.daemon.control import serve_control
from responder.daemon.control_client import ask
from responder.errors import NetworkError, ResponderError
from responder.net import owner_socket

from .test_control import FakeDaemon

pytestmark = pytest.mark.skipif(owner_socket.AF_UNIX is None, reason="this Python has no Unix sockets")


async def test_a_send_that_fails_still_reads_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(owner_socket, "connect", lambda _path, _timeout: ours)
    with theirs:
        theirs.sendall(b'{"error":"too many clients"}\n')
    with pytest.raises(ResponderError, match="too many clients"):
        list(ask(tmp_path, {"request": "status"}, timeout=5))


async def test_an_answer_cut_off_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(owner_socket, "connect", lambda _path, _timeout: ours)
    with theirs:
        theirs.sendall(b'{"status":{"ver')
    assert list(ask(tmp_path, {"request": "status"}, timeout=5)) == []


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"x" * 1000, "says more than 100 bytes at once"),
        (b"no json\n", "it gives no JSON object"),
        (b"[1]\n", "it gives no JSON object"),
        (b"[" * 60 + b"\n", "it gives no JSON object"),
    ],
)
async def test_what_is_no_daemon_s_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes, message: str
) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(owner_socket, "connect", lambda _path, _timeout: ours)
    monkeypatch.setattr(control_client, "MAX_ANSWER", 100)
    with theirs:
        theirs.sendall(said)
        with pytest.raises(ResponderError, match=message):
            list(ask(tmp_path, {"request": "status"}, timeout=5))


async def test_by_the_form_with_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_socket, "listen", lambda path, listen=owner_socket.listen: listen(path, unix=False))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_control, tmp_path / "control", FakeDaemon(mistakes=["m"]))
            answers = await trio.to_thread.run_sync(lambda: list(ask(tmp_path / "control", {"request": "reload"})))
            nursery.cancel_scope.cancel()
    assert answers == [{"reload": ["m"], "restart": ["daemon.settle"]}]


async def test_one_client_too_many_reads_why_by_that_form_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_socket, "listen", lambda path, listen=owner_socket.listen: listen(path, unix=False))
    monkeypatch.setattr(control, "MAX_CLIENTS", 0)
    # So long that a loaded machine, too, has the answer read before the connection is closed.
    monkeypatch.setattr(control, "ACCEPT_PAUSE", 5.0)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_control, tmp_path / "control", FakeDaemon())
            asking = partial(list, ask(tmp_path / "control", {"request": "status"}, timeout=5))
            with pytest.raises(ResponderError, match="too many clients: there are 0"):
                await trio.to_thread.run_sync(asking)
            nursery.cancel_scope.cancel()


def test_raises_where_there_is_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="no daemon listens at"):
        list(ask(tmp_path / "control", {"request": "status"}))

"""The control channel's way in where Python has no Unix sockets: a file for its owner, a port, a secret."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest
import trio

from responder.daemon.control import ask, serve_control
from responder.errors import NetworkError
from responder.net import owner_socket
from responder.net.windows.private_file import DACL_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION, security_of
from tests.responder.daemon.test_control import FakeDaemon


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    with closing(owner_socket.listen(tmp_path / "control")):
        owner = security_of(tmp_path / "control", OWNER_SECURITY_INFORMATION).removeprefix("O:")
        rights = security_of(tmp_path / "control", DACL_SECURITY_INFORMATION)
        # Wine makes the list anew from the Unix mode, and then names the system (SY), which may do anything anyhow.
        who = {entry.rpartition(";")[2] for entry in re.findall(r"\((.*?)\)", rights)} - {"SY"}
        assert who == {owner}
    assert not (tmp_path / "control").exists()


async def test_the_daemon_answers(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_control, tmp_path / "control", FakeDaemon(mistakes=["m"]))
            answers = await trio.to_thread.run_sync(lambda: list(ask(tmp_path / "control", {"request": "reload"})))
            with pytest.raises(NetworkError, match="another daemon"):
                await trio.to_thread.run_sync(owner_socket.listen, tmp_path / "control")
            nursery.cancel_scope.cancel()
    assert answers == [{"reload": ["m"]}]


async def test_what_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    dead = owner_socket.listen(tmp_path / "control")
    left = (tmp_path / "control").read_bytes()
    dead.close()
    (tmp_path / "control").write_bytes(left)
    with closing(owner_socket.listen(tmp_path / "control")):
        assert (tmp_path / "control").read_bytes() != left

"""The control channel's way in where Python has no Unix sockets: a file for its owner, a port, a secret."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from responder.daemon.control import serve_control
from responder.daemon.control_client import ask
from responder.errors import NetworkError
from responder.net import owner_socket
from responder.net.windows import private_file
from responder.net.windows.private_file import (
    DACL_SECURITY_INFORMATION,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    SDDL_REVISION_1,
    create_private,
    current_user,
    make_private_folder,
)
from responder.net.windows.winsock_types import SIO_TCP_INITIAL_RTO, TCP_INITIAL_RTO_ONCE
from tests.responder.daemon.test_control import FakeDaemon

from .support import ON_WINE

assert sys.platform == "win32"  # type checkers elsewhere skip the rest

from responder.net.windows import winsock_native  # noqa: E402 - exists there only


def security_of(path: Path, information: int) -> str:
    """The parts of a file's security descriptor that `information` names, as SDDL."""
    descriptor, needed, text = ctypes.create_string_buffer(1024), ctypes.c_uint32(), ctypes.c_void_p()
    names = (ctypes.c_wchar_p(str(path)), ctypes.c_uint32(information))
    advapi32 = ctypes.WinDLL("advapi32")
    assert advapi32.GetFileSecurityW(*names, descriptor, len(descriptor), ctypes.byref(needed))
    to_text = advapi32.ConvertSecurityDescriptorToStringSecurityDescriptorW
    assert to_text(descriptor, SDDL_REVISION_1, names[1], ctypes.byref(text), None)
    return ctypes.wstring_at(text.value)  # freed with the process


def who_may(path: Path) -> set[str]:
    """The SIDs, or SDDL's names, of those who have any right to a file."""
    rights = security_of(path, DACL_SECURITY_INFORMATION)
    # LA: how SDDL writes the user that is the host's own administrator.
    own = {"LA": current_user()}
    return {own.get(who := entry.rpartition(";")[2], who) for entry in re.findall(r"\((.*?)\)", rights)}


def test_the_file_is_private_from_its_first_moment(tmp_path: Path) -> None:
    """What is opened before the secret is written goes on reading, whatever the file's rights are then."""
    descriptor = create_private(str(tmp_path / "private"))
    os.close(descriptor)
    # Wine stores a Unix mode and makes the list anew from it; Windows keeps the list as it was given.
    assert current_user() in who_may(tmp_path / "private")
    assert who_may(tmp_path / "private") <= {current_user(), "SY", "BA"}
    if ON_WINE:  # on Windows the folder for temporary files is its user's alone already
        (tmp_path / "plain").touch()
        assert not who_may(tmp_path / "plain") <= {current_user(), "SY", "BA"}  # so the test sees the difference


def test_a_private_file_is_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("before")
    with pytest.raises(FileExistsError):
        create_private(str(tmp_path / "there"))
    assert (tmp_path / "there").read_text() == "before"


def test_a_services_folder_is_its_accounts_and_the_administrators(tmp_path: Path) -> None:
    """Made, or taken over: an operator has put the config there before."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "config").touch()
    for name in ("new", "there"):
        make_private_folder(tmp_path / name, "LS")
        assert who_may(tmp_path / name) <= {current_user(), "SY", "BA", "LS"}
    assert (tmp_path / "there" / "config").exists()
    if not ON_WINE:  # which makes the list anew from a Unix mode
        make_private_folder(tmp_path / "there", "NS")
        assert {"LS", "NS"} <= who_may(tmp_path / "there")
    with pytest.raises(FileNotFoundError):
        make_private_folder(tmp_path / "nowhere" / "new", "LS")


@pytest.mark.parametrize("owner", ["S-1-5-21-1-2-3-1001", "BU"])
def test_a_folder_of_somebody_elses_is_not_taken_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, owner: str
) -> None:
    """Any user may make it in %ProgramData% before us, and its owner may always change its rights."""
    monkeypatch.setattr(private_file, "owner_of", lambda _handle: owner)
    before = security_of(tmp_path, DACL_SECURITY_INFORMATION)
    with pytest.raises(PermissionError, match="remove it"):
        make_private_folder(tmp_path, "LS")
    assert security_of(tmp_path, DACL_SECURITY_INFORMATION) == before


def test_a_junction_in_a_folders_place_is_not_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Any user may make one in %ProgramData%, to a folder of an administrator's.  Wine has none to try it by."""
    attributes = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT
    monkeypatch.setattr(private_file, "attributes_of", lambda _handle: attributes)
    before = security_of(tmp_path, DACL_SECURITY_INFORMATION)
    with pytest.raises(NotADirectoryError, match="leads elsewhere: remove it"):
        make_private_folder(tmp_path, "LS")
    assert security_of(tmp_path, DACL_SECURITY_INFORMATION) == before


def test_a_file_in_a_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is no folder"):
        make_private_folder(tmp_path / "file", "LS")


async def test_the_control_file_is_private_and_goes_with_the_daemon(tmp_path: Path) -> None:
    with closing(owner_socket.listen(tmp_path / "control")):
        assert who_may(tmp_path / "control") <= {current_user(), "SY", "BA"}
    assert not (tmp_path / "control").exists()


@pytest.fixture
def newer_python(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One that has AF_UNIX (CPython issue 77589)."""
    monkeypatch.setattr(socket, "AF_UNIX", 1, raising=False)
    importlib.reload(owner_socket)
    yield
    monkeypatch.undo()
    importlib.reload(owner_socket)


@pytest.mark.usefixtures("newer_python")
async def test_a_python_with_unix_sockets_does_not_change_the_form(tmp_path: Path) -> None:
    assert owner_socket.AF_UNIX is not None
    with closing(owner_socket.listen(tmp_path / "control")):
        assert stat.S_ISREG((tmp_path / "control").lstat().st_mode)
        assert "secret" in (tmp_path / "control").read_text()


async def test_the_daemon_answers(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_control, tmp_path / "control", FakeDaemon(mistakes=["m"]))
            answers = await trio.to_thread.run_sync(lambda: list(ask(tmp_path / "control", {"request": "reload"})))
            with pytest.raises(NetworkError, match="another daemon"):
                await trio.to_thread.run_sync(owner_socket.listen, tmp_path / "control")
            nursery.cancel_scope.cancel()
    assert answers == [{"reload": ["m"], "restart": ["daemon.settle"]}]


async def test_a_connect_to_a_dead_daemon_asks_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Windows otherwise asks again for two seconds where a loopback connect is refused."""
    dead = owner_socket.listen(tmp_path / "control")
    left = (tmp_path / "control").read_bytes()
    dead.close()
    (tmp_path / "control").write_bytes(left)
    asked, codes = [], []

    def ioctl(handle: int, code: int, data: bytes) -> int:
        asked.append((code, data))
        codes.append(winsock_native_ioctl(handle, code, data))
        return codes[-1]

    winsock_native_ioctl = winsock_native.ioctl
    monkeypatch.setattr(winsock_native, "ioctl", ioctl)
    with pytest.raises(NetworkError, match="no daemon listens"):
        await trio.to_thread.run_sync(owner_socket.connect, tmp_path / "control", 10)
    assert asked == [(SIO_TCP_INITIAL_RTO, TCP_INITIAL_RTO_ONCE)]
    assert ON_WINE or codes == [0]  # Wine does not know it, and the connect goes on all the same


async def test_what_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    dead = owner_socket.listen(tmp_path / "control")
    left = (tmp_path / "control").read_bytes()
    dead.close()
    (tmp_path / "control").write_bytes(left)
    with closing(owner_socket.listen(tmp_path / "control")):
        assert (tmp_path / "control").read_bytes() != left

"""Locks between processes, and files for their owner alone."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from responder import FileLock, private_opener

HOLDER = """
import sys
from pathlib import Path
from responder import FileLock

lock = FileLock(Path(sys.argv[1]))
print(lock.acquire(wait=False), flush=True)
sys.stdin.read()
"""


def test_one_at_a_time_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    first, second = FileLock(path), FileLock(path)
    assert first.acquire(wait=False)
    assert not second.acquire(wait=False)
    first.release()
    first.release()
    with second:
        assert not first.acquire(wait=False)
    assert first.acquire(wait=False)
    first.release()


def test_who_waits_gets_it(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    taken = threading.Event()

    def wait() -> None:
        with second:
            taken.set()

    with first:
        thread = threading.Thread(target=wait)
        thread.start()
        assert not taken.is_set()
    thread.join()
    assert taken.is_set()


def test_a_process_that_ends_releases_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("kept")
    lock = FileLock(path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not lock.acquire(wait=False)
        other.kill()
        other.communicate()
    assert lock.acquire(wait=False)
    lock.release()
    assert path.read_text() == "kept"


def test_a_file_that_can_t_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        FileLock(tmp_path / "file" / "lock").acquire()


@pytest.mark.skipif(sys.platform == "win32", reason="tests/windows looks at access lists")
def test_a_private_file_is_its_owner_s(tmp_path: Path) -> None:
    with open(tmp_path / "secret", "x", opener=private_opener) as file:
        file.write("secret")
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError), open(tmp_path / "secret", "x", opener=private_opener):
        pass

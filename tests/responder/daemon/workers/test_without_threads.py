"""No thread can be had, for the parent or a worker: that ends neither."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

import pytest
import trio

from responder.daemon.control import BadRequest
from responder.daemon.workers.process import WorkerProcess
from responder.daemon.workers.program import Program
from responder.net.handover import Handed, pair

pytestmark = [
    pytest.mark.usefixtures("no_thread"),
    pytest.mark.skipif(sys.platform == "win32", reason="no workers on Windows"),
]


def started(code: str) -> WorkerProcess:
    giver, theirs = pair()
    with theirs:
        descriptor = theirs.fileno()
        process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[descriptor])
    return WorkerProcess(process, giver)


async def test_the_end_of_a_process_is_seen() -> None:
    process = started("import sys; sys.exit(3)")
    with trio.fail_after(60):
        await process.ended()
        assert await process.end() == 3


async def test_one_that_goes_on_is_killed() -> None:
    with trio.fail_after(60):
        assert await started("import time; time.sleep(600)").end() == -9


async def test_a_worker_can_not_prepare_and_says_that_this_is_no_mistake() -> None:
    with closing(Handed()) as handed, pytest.raises(BadRequest, match="no thread can be had"):
        await Program(2, handed).prepare([("a.toml", "[plugins.echo]\nport = 7007\n")])

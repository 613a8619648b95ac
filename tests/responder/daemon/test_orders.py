"""Signals as orders, also those that come before anybody follows them and after."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")

PROGRAM = """
import os, signal, trio
from responder.daemon.orders import RELOAD_SIGNALS, STOP_SIGNALS, Orders, note_signals

async def main(noted):
    stops = []
    with trio.open_signal_receiver(*STOP_SIGNALS, *RELOAD_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            orders = Orders(lambda: stops.append(None))
            for number in noted:
                orders.take(number)
            nursery.start_soon(orders.follow, signals)
            os.kill(os.getpid(), signal.SIGTERM)
            while len(stops) < 2:
                await trio.lowlevel.checkpoint()
            await orders.reload()
            nursery.cancel_scope.cancel()
    print("stopped", len(stops))

noted = note_signals()
os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGHUP)
trio.run(main, noted)
os.kill(os.getpid(), signal.SIGTERM)
print("ended")
"""


def test_none_ends_the_process_and_none_is_lost() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped 2\nended\n", "")


def test_no_signal_ends_a_process_that_is_ending() -> None:
    """One every half millisecond, until the process is gone."""
    program = "from responder.daemon.orders import note_signals\nnote_signals()\nprint('ready', flush=True)\ninput()"
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            assert process.stdout.readline() == b"ready\n"
            process.stdin.write(b"\n")
            process.stdin.flush()
            while True:
                process.terminate()  # none where it has ended
                with suppress(subprocess.TimeoutExpired):
                    assert process.wait(0.0005) == 0
                    break

"""What commands write, and what Python writes for them: nothing of others' words raw."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = r"""
import logging, sys, threading
import click
from responder.cli import main
from responder.cli.status import status

HOSTILE = "\x1b]0;taken\x07\u202e"

class Odd:
    def __del__(self):
        raise LookupError(HOSTILE + "unraisable")

def fail():
    raise LookupError(HOSTILE + "thread")

def broken(**_):
    logging.getLogger("a.library").warning("%s", HOSTILE + "log")
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Odd()
    if sys.argv[1] == "click":
        raise click.ClickException(HOSTILE + "click")
    raise LookupError(HOSTILE + "main")

status.callback = broken
main(["status"])
"""


def written(how: str) -> tuple[int, str]:
    """The exit status, and what it wrote to standard error."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, check=False, timeout=60)
    assert done.stdout == b""
    return done.returncode, done.stderr.decode()


def test_no_traceback_is_raw() -> None:
    status, text = written("raise")
    assert status == 1
    assert all(line.isprintable() for line in text.split("\n"))
    for what in ("log", "thread", "unraisable", "main"):
        assert f"\\x1b]0;taken\\x07\\u202e{what}" in text
    assert "Traceback (most recent call last):" in text


def test_no_error_of_a_command_is_raw() -> None:
    status, text = written("click")
    assert status == 1
    assert text.endswith("Error: \\x1b]0;taken\\x07\\u202eclick\n")


def test_what_an_encoding_lacks_is_spelled_out() -> None:
    program = """
from responder.cli import main
from responder.cli.output import print_table
from responder.cli.status import status
status.callback = lambda **_: print_table(["interface"], [["Подключение"]])
main(["status"])
"""
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u041f\\u043e\\u0434" in done.stdout

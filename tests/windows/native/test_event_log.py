"""Events that are written to Windows' event log, read back from it."""

from __future__ import annotations

import logging
import os
import re
import subprocess

import pytest

from responder.net.windows.event_log import EventLogHandler

from .support import ON_WINE


@pytest.mark.skipif(ON_WINE, reason="Wine keeps no events: tests/windows/test_event_log.py sees them written")
def test_what_is_written_is_there() -> None:
    source = f"responderd-test-{os.getpid()}"
    log = logging.Logger("service")
    log.addHandler(EventLogHandler(source))
    log.info("of no use there")
    log.warning("port %d is shared", 1900)
    log.error("a null character ends\0nothing")
    query = f"/q:*[System[Provider[@Name='{source}']]]"
    told = subprocess.run(
        ["wevtutil", "qe", "Application", query, "/f:xml"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert re.findall(r"<Level>(\d)</Level>.*?<Data>(.*?)</Data>", told) == [
        ("3", "port 1900 is shared"),
        ("2", "a null character ends nothing"),
    ]

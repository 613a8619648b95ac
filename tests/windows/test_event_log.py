"""Windows' event log, under Wine: it keeps none that could be read back, but its debug channel tells of each event.

`native/test_event_log.py` reads them back on Windows itself.
"""

from __future__ import annotations

import re
import textwrap

import pytest

from .wine import WindowsPython

pytestmark = pytest.mark.windows

WRITE = textwrap.dedent(r"""
    import logging
    from responder.net.windows.event_log import EventLogHandler

    events = EventLogHandler("responderd")
    log = logging.getLogger("service")
    log.setLevel(logging.DEBUG)
    log.addHandler(events)
    log.info("of no use there")
    log.warning("port %d is shared", 1900)
    log.error("a null character ends\0nothing")
    log.critical("x" * 40_000)
    events.write("the service runs")
    """)


def test_warnings_and_errors_become_events(windows: WindowsPython) -> None:
    with windows.machine() as machine:
        machine.environment["WINEDEBUG"] = "-all,+eventlog"
        done = machine.run("-c", WRITE)
    assert done.returncode == 0, done.stderr
    events = re.findall(r':(\w+):eventlog:ReportEventW L"([^"]*)"', done.stderr)
    assert [kind for kind, _ in events] == ["warn", "err", "err", "trace"]
    warning, error, long, information = (text for _, text in events)
    assert (warning, error, information) == (
        "port 1900 is shared", "a null character ends nothing", "the service runs"
    )  # fmt: skip
    assert set(long.rstrip(".")) == {"x"}  # the channel shows the beginning of what is long

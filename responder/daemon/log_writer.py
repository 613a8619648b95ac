"""Writes log lines without ever holding up who logs: a thread waits where nobody reads.

A pipe or terminal that is not read (a stalled `| less`, a hung log collector) makes a write wait for ever.  So lines go
into a bounded queue, which a thread of its own empties.  Where the queue is full lines are dropped, and how many is
told in the log as soon as there is room.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Any, TextIO

from ..errors import ThreadUnavailable
from ..log import EventMessage
from ..threads import start

MAX_WAITING = 1 << 20
"""Bytes that wait to be written: some thousands of lines."""

FLUSH = 1.0
"""Seconds that the end waits for the last lines to be read."""

RETRY = 0.05
"""Seconds before a descriptor that others have made non-blocking is tried again."""


class LogWriter(logging.Handler):
    """A handler that writes to a stream, standard error unless one is given."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stderr
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._encoded(record)
        except Exception:  # a formatter may raise anything: `logging` has it told, as of each of its handlers
            self.handleError(record)
            return
        with self._changed:
            if self._bytes + len(line) > MAX_WAITING:
                self._dropped += 1
                return
            self._put(line)

    def flush(self) -> None:
        """Wait until all is written, for `FLUSH` seconds at most; where no thread could be had, write it."""
        with self._changed:
            while self._thread is None and self._waiting:
                self._write(self._waiting.popleft())
            self._changed.wait_for(lambda: not self._waiting, FLUSH)

    def _encoded(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode(errors="backslashreplace")

    def _put(self, line: bytes) -> None:
        self._waiting.append(line)
        self._bytes += len(line)
        if self._thread is None:
            # A daemon thread: one that waits for a reader does not hold up the end of the process.
            thread = threading.Thread(target=self._write_all, name="log", daemon=True)
            with suppress(ThreadUnavailable):  # the next line has another try
                start(thread)
                self._thread = thread
        self._changed.notify_all()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                line = self._waiting[0]
            self._write(line)
            with self._changed:
                self._waiting.popleft()
                self._bytes -= len(line)
                if self._dropped and self._bytes < MAX_WAITING // 2:
                    dropped, self._dropped = self._dropped, 0
                    self._put(self._encoded(_lost(dropped)))
                self._changed.notify_all()

    def _write(self, line: bytes) -> None:
        # Below the stream's buffer: a thread that waits in a write while it holds the buffer's lock would make the
        # interpreter abort at its end.
        raw: Any = getattr(getattr(self._stream, "buffer", None), "raw", None)
        try:
            if raw is None:
                self._stream.write(line.decode())
                self._stream.flush()
                return
            while line:
                written = raw.write(line)
                if written is None:
                    threading.Event().wait(RETRY)
                else:
                    line = line[written:]
        except (OSError, ValueError):  # nobody will read it any more; the stream is closed
            pass


def _lost(count: int) -> logging.LogRecord:
    fields = {"count": count}
    message = EventMessage("the log was not read: lines are lost", fields)
    record = logging.makeLogRecord({"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING"})
    record.msg, record.fields = message, fields
    return record

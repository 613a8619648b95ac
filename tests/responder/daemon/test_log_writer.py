"""Log lines into pipes that are read late, or not at all."""

from __future__ import annotations

import io
import logging
import os
import threading
import time
from collections.abc import Iterator

import pytest

from responder.daemon import log_writer
from responder.daemon.log_writer import LogWriter


@pytest.fixture
def ends() -> Iterator[tuple[io.TextIOWrapper, int]]:
    """A stream, and the descriptor to read what is written to it."""
    read, write = os.pipe()
    stream = open(write, "w", encoding="utf-8")  # noqa: SIM115 - closed below
    yield stream, read
    os.close(read)
    stream.close()


def log(writer: LogWriter, *lines: str) -> None:
    for line in lines:
        writer.handle(logging.makeLogRecord({"msg": line}))


def read_all(descriptor: int, writer: LogWriter) -> list[str]:
    """Until nothing waits any more."""
    os.set_blocking(descriptor, False)
    data = b""
    while True:
        try:
            data += os.read(descriptor, 1 << 16)
        except BlockingIOError:
            if not writer._waiting:
                return data.decode().splitlines()
            time.sleep(0.001)  # the thread's turn


def test_lines_come_in_order(ends: tuple[io.TextIOWrapper, int]) -> None:
    stream, descriptor = ends
    writer = LogWriter(stream)
    lines = [f"line {number} \u00fc" for number in range(1000)]
    log(writer, *lines)
    assert read_all(descriptor, writer) == lines


def test_a_log_that_nobody_reads_holds_nobody_up_and_what_is_lost_is_told(
    ends: tuple[io.TextIOWrapper, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "MAX_WAITING", 100_000)
    monkeypatch.setattr(log_writer, "FLUSH", 0.01)
    stream, descriptor = ends
    writer = LogWriter(stream)
    writer.setFormatter(logging.Formatter("%(message)s"))
    # More than the pipe and the queue hold; a write that waited would never return.
    log(writer, *(f"{number:0999}" for number in range(1000)))
    writer.flush()
    found = read_all(descriptor, writer)
    assert found[:2] == [f"{number:0999}" for number in range(2)]
    told = [line for line in found if line.startswith("the log was not read: lines are lost count=")]
    assert told
    assert len(found) - len(told) + sum(int(line.rpartition("=")[2]) for line in told) == 1000
    log(writer, "afterwards")
    assert read_all(descriptor, writer) == ["afterwards"]


class TestWithoutThreads:
    def test_lines_wait_until_there_is_one(self, ends: tuple[io.TextIOWrapper, int]) -> None:
        stream, descriptor = ends
        writer = LogWriter(stream)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            log(writer, "one", "two")
        log(writer, "three")
        assert read_all(descriptor, writer) == ["one", "two", "three"]

    @pytest.mark.usefixtures("no_thread")
    def test_at_the_end_they_are_written_all_the_same(self, ends: tuple[io.TextIOWrapper, int]) -> None:
        stream, descriptor = ends
        writer = LogWriter(stream)
        log(writer, "one", "two")
        writer.flush()
        assert read_all(descriptor, writer) == ["one", "two"]


def refuse(*_: object) -> None:
    raise RuntimeError("can't start new thread")


def test_a_reader_that_is_gone_is_no_failure(ends: tuple[io.TextIOWrapper, int]) -> None:
    stream, _ = ends
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as broken:
        writer = LogWriter(broken)
        log(writer, "nobody hears it")
        writer.flush()
        assert not writer._waiting
    del stream

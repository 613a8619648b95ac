"""What people and programs read of results: text, picture, and what is read of dnsperf, perf and py-spy."""

from __future__ import annotations

import sys
from xml.etree import ElementTree as ET

import attrs
import pytest

if sys.platform == "win32":
    pytest.skip("the benchmarks need Linux", allow_module_level=True)

from . import names, picture, profiling, report, versions
from .comparing import Goal, Result, Run

GOALS = (
    Goal("echo against uvloop", "ours", "uvloop", field="rate", at_least=1.0),
    Goal("echo against C", "ours", "C <batch>", field="rate", at_least=0.75),
    Goal("to know", "ours", "uvloop"),
)
ECHO = Result(
    "echo",
    "Echo, answers a second",
    {
        "ours": [Run(rate=160_000.0, cpu_us=6.25, user_us=2.0, lost=3)],
        "uvloop": [Run(rate=150_000.0, cpu_us=6.5)],
        "C <batch>": [Run(rate=230_000.0, cpu_us=4.0, idle=0.4)],
    },
    GOALS,
    {"dnslib": "not installed"},
)
LATENCY = Result(
    "latency",
    "Latency",
    {"ours": [Run(rate=1.0, median_us=30.0, p99_us=90.0)], "C": [Run(rate=1.0, median_us=20.0, p99_us=60.0)]},
    [Goal("median", "ours", "C", field="median_us", at_most=1.5)],
)
MACHINE: dict[str, str | int] = {"cpu": "a & b", "kernel": "6.1", "python": "3.11", "date": "2026-01-01"}


def test_the_text_tells_verdicts_losses_limits_and_what_is_missing() -> None:
    said = "\n".join(report.lines([ECHO, LATENCY]))
    assert "1.07" in said
    assert "goal >= 1, reached" in said
    assert "goal >= 0.75, MISSED" in said
    assert "goal <= 1.5, reached" in said
    assert "3 lost" in said
    assert "CPU   6.25 us (6.25 to 6.25), user 2.00, kernel 4.25" in said
    assert "its core 40% idle: the load is the limit" in said
    assert "not measured: not installed" in said
    assert "BUSY" not in said


def test_on_a_busy_machine_only_cpu_time_is_compared() -> None:
    runs = {
        "ours": [Run(rate=1.0, cpu_us=2.0, disturbed="a compiler")],
        "theirs": [Run(rate=3.0, cpu_us=4.0)],
    }
    goals = [Goal("by rate", "ours", "theirs", field="rate"), Goal("by CPU", "ours", "theirs")]
    result = Result("echo", "Echo", runs, goals)
    said = list(report.lines([result]))
    assert any(line.startswith("    by rate") and "not compared" in line for line in said)
    assert any(line.startswith("    by CPU") and "2.00" in line for line in said)
    assert not any("/s" in line for line in said)
    assert "a compiler" in "".join(said)
    assert any("/s" in line for line in report.lines([result], force=True))


def test_the_picture_is_xml_with_every_server_and_every_goal_that_has_a_bound() -> None:
    drawn = picture.svg([ECHO, LATENCY], MACHINE, "python -m tests.benchmarks")
    root = ET.fromstring(drawn)  # noqa: S314 - our own text
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"ours", "uvloop", "C <batch>", "echo against uvloop", "median"} <= set(texts)
    assert "to know" not in texts
    assert any("To repeat: python -m tests.benchmarks" in (text or "") for text in texts)
    bars = [element for element in root.iter("{http://www.w3.org/2000/svg}rect") if element.get("class") != "page"]
    assert [bar.get("class") for bar in bars] == ["ours", "peer", "peer", "ours", "peer"]
    assert float(bars[1].get("width", "0")) == picture.BAR


def test_the_picture_leaves_out_latencies_of_a_busy_machine() -> None:
    busy = attrs.evolve(LATENCY, runs={"ours": [Run(rate=1.0, median_us=30.0, p99_us=9.0, disturbed="a compiler")]})
    drawn = picture.svg([ECHO, busy], MACHINE, "it")
    assert ECHO.title in drawn
    assert LATENCY.title not in drawn


DNSPERF = """
  Queries sent:         1000
  Queries completed:    990 (99.00%)
  Queries lost:         10 (1.00%)

  Response codes:       NOERROR 891 (90.00%), NXDOMAIN 99 (10.00%)
  Queries per second:   33092.123456
"""


def test_dnsperf_is_read() -> None:
    assert names.parse_dnsperf(DNSPERF) == (990, 10, 33092.123456, 0.1)


def test_a_dnsperf_that_says_something_else_is_an_error_with_what_it_said() -> None:
    with pytest.raises(ValueError, match="no such host"):
        names.parse_dnsperf("Error: no such host")


def test_perf_stat_is_read() -> None:
    said = "1000,,raw_syscalls:sys_enter,1,100.00,,\n990,,syscalls:sys_enter_recvmmsg,1,100.00,,\n<not supported>,,x,,"
    assert profiling.parse_perf_stat(said) == {"sys_enter": 1000, "recvmmsg": 990}


def test_stacks_are_summed_by_line_by_function_and_with_what_they_call() -> None:
    raw = "\n".join(
        [
            "main (a.py:1);serve (b.py:10);receive (c.py:5) 6",
            "main (a.py:1);serve (b.py:11);receive (c.py:7) 3",
            "main (a.py:1);serve (b.py:12) 1",
            "Thread._bootstrap (threading.py:1);waits (d.py:1) 50",
        ]
    )
    by_line, by_function, inclusive = profiling.parse_stacks(raw)
    assert by_line == {"receive (c.py:5)": 6, "receive (c.py:7)": 3, "serve (b.py:12)": 1}
    assert by_function == {"receive (c.py)": 9, "serve (b.py)": 1}
    assert inclusive == {"main (a.py)": 10, "serve (b.py)": 10, "receive (c.py)": 9}
    assert list(profiling.table("T", inclusive, 10)) == ["\nT", "   90.0%  receive (c.py)"]


@pytest.mark.parametrize(
    ("said", "version"),
    [("NSD version 4.6.1\nWritten by", "4.6.1"), ("gcc (Debian 12.2.0-14) 12.2.0", "12.2.0"), ("?", "unknown")],
)
def test_a_version_is_found_in_what_a_program_says(said: str, version: str) -> None:
    assert versions.first_version(said) == version

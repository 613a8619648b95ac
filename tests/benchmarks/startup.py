"""Until the first answer: `responderd run` without a config, against importing trio and attrs; and the memory it holds.

    python -m tests.benchmarks.startup [--rounds N] [--json]        (Linux)

CPU seconds of each process, since what else the machine does changes them least; medians, and the ratio of each round
with its range.  Both are started in turn.  The answer is asked for once the daemon says that it is ready, so nothing
polls.  What is imported is compiled beforehand, as pip does it, wherever the environment forbids Python to.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from .comparing import Summary

PORT = 5300
QUERY = bytes.fromhex("0001 0100 0001 0000 0000 0000") + b"\6whoami\4test\0" + bytes.fromhex("0010 0001")
"""A TXT query (RFC 1035 section 4)."""

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def cpu_of(pid: int) -> float:
    """CPU seconds of a process's threads, to the nanosecond (/proc/PID/stat has hundredths of a second)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident(pid: int) -> float:
    """MB of memory (VmRSS, proc(5))."""
    (kilobytes,) = re.findall(r"^VmRSS:\s+([0-9]+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(kilobytes) / 1000


def first_answer(folder: str) -> tuple[float, float]:
    """The CPU seconds from the start of the process to its reply, and the MB that it then holds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "responder", "run"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=ENVIRONMENT,
    )
    assert process.stderr is not None
    with process.stderr as said:
        try:
            lines = []
            for line in said:
                lines.append(line.decode())
                if '"ready"' in lines[-1]:
                    break
            else:
                raise RuntimeError("the daemon ended:\n" + "".join(lines))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(10)
                client.sendto(QUERY, ("127.0.0.1", PORT))
                client.recv(512)
                return cpu_of(process.pid), resident(process.pid)
        finally:
            process.terminate()
            said.read()
            process.wait()


def importing() -> float:
    """CPU seconds of the whole life of an interpreter that only imports what the daemon can't do without."""
    argv = [sys.executable, "-c", "import trio, attrs"]
    process = os.posix_spawn(sys.executable, argv, ENVIRONMENT)
    _, status, used = os.wait4(process, 0)
    if status != 0:
        raise RuntimeError(f"{argv}: status {status}")
    return used.ru_utime + used.ru_stime


def measure(rounds: int) -> dict[str, float | str]:
    answers, imports, sizes = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        # Once unmeasured: byte code is compiled and files come into the cache.
        importing(), first_answer(folder)
        for _ in range(rounds):
            imports.append(importing())
            cpu, size = first_answer(folder)
            answers.append(cpu)
            sizes.append(size)
    ratio = Summary.of([answer / baseline for answer, baseline in zip(answers, imports, strict=True)])
    return {
        "rounds": rounds,
        "first_answer_cpu_s": round(statistics.median(answers), 4),
        "import_trio_attrs_cpu_s": round(statistics.median(imports), 4),
        "ratio": round(ratio.median, 3),
        "ratio_and_range": str(ratio),
        "resident_mb": round(statistics.median(sizes), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments.rounds)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"CPU until the first answer   {result['first_answer_cpu_s']:.3f} s")
        print(f"CPU of import trio, attrs    {result['import_trio_attrs_cpu_s']:.3f} s")
        print(f"ratio                        {result['ratio_and_range']}")
        print(f"resident                     {result['resident_mb']:.1f} MB")


if __name__ == "__main__":
    main()

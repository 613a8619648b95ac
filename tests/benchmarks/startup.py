"""How long until the first answer: `responderd run` without a config, against importing trio and attrs.

    python -m tests.benchmarks.startup [--rounds N] [--json]

Both are started alternately, so that a busy moment of the machine meets both; medians in seconds, and their ratio.  The
answer is asked for once the daemon says that it is ready, so nothing polls.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PORT = 5300
QUERY = bytes.fromhex("0001 0100 0001 0000 0000 0000") + b"\6whoami\4test\0" + bytes.fromhex("0010 0001")
"""A TXT query (RFC 1035 section 4)."""


def seconds_to_first_answer(folder: str) -> float:
    """From the start of the process to the reply in hand."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "responder", "run"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder,
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
                return time.perf_counter() - start
        finally:
            process.terminate()
            said.read()
            process.wait()


def seconds_to_import(folder: str) -> float:
    """The whole life of an interpreter that only imports what the daemon can't do without."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import trio, attrs"], check=True, cwd=folder)
    return time.perf_counter() - start


def measure(rounds: int) -> dict[str, float]:
    answers, imports = [], []
    with tempfile.TemporaryDirectory() as folder:
        # Once unmeasured: byte code is compiled and files come into the cache.
        seconds_to_import(folder), seconds_to_first_answer(folder)
        for _ in range(rounds):
            imports.append(seconds_to_import(folder))
            answers.append(seconds_to_first_answer(folder))
    first_answer, baseline = statistics.median(answers), statistics.median(imports)
    return {
        "rounds": rounds,
        "first_answer": round(first_answer, 4),
        "import_trio_attrs": round(baseline, 4),
        "ratio": round(first_answer / baseline, 3),
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
        print(f"first answer         {result['first_answer']:.3f} s")
        print(f"import trio, attrs   {result['import_trio_attrs']:.3f} s")
        print(f"ratio                {result['ratio']:.2f}")


if __name__ == "__main__":
    main()

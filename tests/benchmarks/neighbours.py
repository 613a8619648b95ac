"""All that announces at once: is a daemon with mdns, ssdp, llmnr, nbns and wsd ready as soon as one with ssdp alone?

    python -m tests.benchmarks.neighbours [--links N] [--rounds N] [--json]      (root, Linux)

A host with that many links, each with an address of both families.  In rounds, both daemons are started and stopped one
after the other; "ready" is the median of the seconds from the start of the process to the event "ready".  "memory" is
what the process holds (RSS, MiB) five seconds later, when all is announced or under way.  Goal: a ratio of 1.5.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from tests.lab.changing import many_links
from tests.lab.daemon import daemon
from tests.lab.namespaces import Lab, Namespace

SSDP = """
[plugins.ssdp]
[[plugins.ssdp.devices]]
uuid = "2fac1234-31f8-11b4-a222-08002b34c003"
type = "urn:schemas-upnp-org:device:Basic:1"
friendly_name = "Lab device"
"""

ALL = f"""
{SSDP}
[plugins.mdns]
host = "lab"

[plugins.llmnr]
names = ["lab"]

[plugins.nbns]
names = ["LAB"]

[plugins.wsd]
name = "lab"
"""

CONFIGS = {"ssdp": SSDP, "all": ALL}
SETTLED = 5.0
"""Seconds from the start to the look at the memory."""


def memory(pid: int) -> float:
    """RSS in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def start(host: Namespace, folder: Path, config: str) -> tuple[float, float]:
    """Seconds until it was ready, and MiB a while later."""
    file = folder / "responderd.toml"
    file.write_text(f'[daemon]\nstate = "{folder / "state"}"\n{config}', encoding="utf-8")
    began = time.monotonic()
    with daemon(host, file, folder=folder) as child:
        ready = time.monotonic() - began
        time.sleep(SETTLED)  # a measurement, not a test: the daemon is left alone
        return ready, memory(child.pid)


def measure(links: int, rounds: int) -> dict[str, float]:
    readies: dict[str, list[float]] = {name: [] for name in CONFIGS}
    memories: dict[str, list[float]] = {name: [] for name in CONFIGS}
    with tempfile.TemporaryDirectory() as folder, Lab() as lab:
        host, _ = many_links(lab, links)
        for _ in range(rounds):
            for name, config in CONFIGS.items():
                ready, held = start(host, Path(folder), config)
                readies[name].append(ready)
                memories[name].append(held)
    ready = {name: statistics.median(values) for name, values in readies.items()}
    return {
        "links": links,
        **{f"ready_{name}": round(value, 3) for name, value in ready.items()},
        "ratio": round(ready["all"] / ready["ssdp"], 3),
        **{f"memory_{name}": round(statistics.median(values), 1) for name, values in memories.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--links", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments.links, arguments.rounds)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:16} {value}")


if __name__ == "__main__":
    main()

"""A link whose firewall refuses: the tutorial's plugin goes on, and its other link hears all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.test_tutorial import SECTIONS, step

from .namespaces import Lab

pytestmark = [pytest.mark.lab, pytest.mark.clients("nft")]

DROP = "table inet t { chain out { type filter hook output priority 0; oifname office meta l4proto udp drop; }; }"

PROGRAM = """
import json

import trio

from responder import serve

async def main():
    async with serve(Daytime(announce=0.05)) as server:
        (runtime,) = server._core.instances
        with trio.fail_after(10):
            while server.counts().get("daytime", {}).get("lab", {}).get("sent", 0) < 5:
                await trio.sleep(0.05)
        print(json.dumps({"counts": server.counts()["daytime"], "restarts": runtime.restarts, "state": runtime.state}))

trio.run(main)
"""


def test_the_tutorials_plugin_survives_a_link_that_refuses(tmp_path: Path) -> None:
    # The last section has no code, so this is all code before it, without the tests.
    (tmp_path / "daytime.py").write_text(step(len(SECTIONS) - 1) + PROGRAM)
    with Lab() as lab:
        host, other = lab.namespace("host"), lab.namespace("other")
        for number, name in enumerate(("office", "lab")):
            lab.link(host, name, other, name)
            host.ip(f"addr add 192.0.{2 + number}.1/24 dev {name}")
        host.run("nft", DROP)
        done = subprocess.run(
            host.argv(sys.executable, str(tmp_path / "daytime.py")),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["restarts"], said["state"]) == (0, "ready")
    assert said["counts"]["lab"]["sent"] >= 5
    assert "office" not in said["counts"]

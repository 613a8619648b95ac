"""Updates by nsupdate while the daemon is killed again and again: what was acknowledged is there, and nothing else.

    python -m tests.lab.updating [COUNT] [SEED]      as root

`test_dns_updates` runs a bounded part of it.  One update is in flight at a time, so that of the one at the moment of
the kill alone it is not known whether it was made.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeAlias

import attrs

from .daemon import daemon
from .namespaces import Lab, Namespace

SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="  # noqa: S105 - of the tests only
KEY = f"hmac-sha256:key.test:{SECRET}"

CONFIG = """
[daemon]
state = "state"
{daemon}

[plugins.dns]
port = 5300
zones = {{ "example.test" = "example.test.zone" }}
transfer_keys = {{ "key.test" = {{ secret = "{secret}" }} }}
allow_transfer = ["127.0.0.0/8"]
{more}

[plugins.dns.update."example.test"]
keys = ["key.test"]
"""

ZONE = """$TTL 300
@ SOA ns h 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
"""

Zone: TypeAlias = dict[tuple[str, str], set[str]]
"""By name and type."""


def write(folder: Path, *, more: str = "", daemon: str = "") -> Path:
    """The configuration, and the zone file."""
    (folder / "example.test.zone").write_text(ZONE)
    config = folder / "dns.toml"
    config.write_text(CONFIG.format(secret=SECRET, more=more, daemon=daemon))
    return config


def axfr(namespace: Namespace) -> Zone:
    """The zone without the SOA record."""
    said = namespace.run(
        "dig", "@127.0.0.1", "-p", "5300", "example.test", "AXFR", "-y", KEY, "+noall", "+answer", "+nottlid"
    )
    found: Zone = {}
    for line in said.splitlines():
        words = line.split(None, 3)
        if len(words) == 4 and words[2] not in ("SOA", "TSIG"):
            found.setdefault((words[0], words[2]), set()).add(words[3])
    return found


@attrs.define
class Updater:
    """One nsupdate that is told updates one by one, and what it says."""

    into: TextIO
    said: Iterator[str]

    def send(self, *commands: str) -> bool | None:
        """Was it acknowledged?  None: there was no answer.  Raises AssertionError where it was refused."""
        self.into.write("".join(f"{command}\n" for command in (*commands, "send", "answer")))
        self.into.flush()
        for line in self.said:
            if "status:" in line:
                assert "status: NOERROR" in line, line
                return True
            if "failed:" in line or "timed out" in line:
                return None
        raise AssertionError("nsupdate has ended")


@contextmanager
def nsupdate(namespace: Namespace) -> Iterator[Updater]:
    argv = namespace.argv("stdbuf", "-oL", "nsupdate", "-t", "2", "-u", "2", "-r", "0", "-y", KEY)
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("server 127.0.0.1 5300\nzone example.test\n")
        yield Updater(process.stdin, process.stdout)
        process.stdin.close()
        process.stdout.read()


def run(namespace: Namespace, folder: Path, count: int, seed: int, each_kill: int = 40) -> int:
    """How often the daemon was killed, every `each_kill` updates on average.

    Raises AssertionError where the zone is not what was acknowledged.
    """
    rng = random.Random(seed)  # noqa: S311 - to be repeated
    config = write(folder)
    made = {("example.test.", "NS"): {"ns.example.test."}, ("ns.example.test.", "A"): {"127.0.0.1"}}
    maybe: Zone | None = made
    done = kills = 0
    with nsupdate(namespace) as updater:
        while done < count:
            with daemon(namespace, config, folder=folder) as child:
                found = axfr(namespace)
                assert found in (made, maybe), f"after kill {kills}, {done} updates"
                made, maybe = found, None
                left = rng.randrange(1, 2 * each_kill)
                killer = threading.Timer(rng.random() * 0.01, child.signal, [signal.SIGKILL])
                while maybe is None:
                    left -= 1
                    if left == 0:
                        killer.start()
                    commands, after = another(rng, made)
                    if updater.send(*commands):
                        made = after
                        done += 1
                    else:
                        maybe = after
                killer.join()
                kills += 1
                child.wait()
            assert child.status == -signal.SIGKILL
        with daemon(namespace, config, folder=folder):
            assert axfr(namespace) in (made, maybe), f"after the last kill, {done} updates"
    return kills


def another(rng: random.Random, made: Zone) -> tuple[list[str], Zone]:
    """An update, and what it makes of a zone."""
    name, address = f"h{rng.randrange(200)}.example.test.", f"192.0.2.{rng.randrange(250)}"
    after = dict(made)
    if rng.random() < 0.3:
        after.pop((name, "A"), None)
        return [f"delete {name} A"], after
    after[name, "A"] = after.get((name, "A"), set()) | {address}
    return [f"add {name} 60 A {address}"], after


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with Lab() as lab, tempfile.TemporaryDirectory() as folder:
        namespace = lab.namespace("updating")
        kills = run(namespace, Path(folder), count, seed, each_kill=80)
        journal = next(Path(folder).glob("state/dns/journals/*.journal"))
        print(f"{count:,} updates, {kills} kills; the journal has {journal.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

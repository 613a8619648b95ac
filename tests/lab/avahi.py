"""Avahi in a namespace of the lab: a daemon and a bus of its own, and its clients.

Nothing of the machine's own Avahi or bus is touched: both speak by sockets in the test's folder.  This file refuses to
know what is looked for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from .daemon import BOUND
from .namespaces import Namespace

BUS = """<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_requested_reply="true"/>
    <allow receive_type="method_call"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
"""

CONFIG = """[server]
host-name={host}
use-ipv4=yes
use-ipv6=yes
{server}
[wide-area]
enable-wide-area=no
[publish]
publish-workstation=no
publish-hinfo=no
"""

NAMES = ("avahi-daemon", "avahi-browse", "avahi-resolve", "dbus-daemon")
"""The programs, for the marker `clients`."""


class Avahi:
    """Use it as a context manager; entering waits until the daemon answers."""

    def __init__(self, namespace: Namespace, folder: Path, *, host: str, server: str = "") -> None:
        self._namespace = namespace
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._bus = folder / "bus"
        (folder / "bus.conf").write_text(BUS.format(path=self._bus))
        (folder / "avahi.conf").write_text(CONFIG.format(host=host, server=server))
        (folder / "services").mkdir()

    @property
    def log(self) -> str:
        return (self._folder / "avahi.log").read_text()

    def __enter__(self) -> Self:
        try:
            self._start("dbus-daemon", "--nofork", "--nopidfile", f"--config-file={self._folder / 'bus.conf'}")
            self._wait_for(self._bus.exists)
            # Its folders are fixed: they are covered in the mount namespace that `ip netns exec` makes.
            self._start(
                *("sh", "-c"),
                f"mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && "
                f"mount --bind {self._folder / 'services'} /etc/avahi/services && "
                f"exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {self._folder / 'avahi.conf'} "
                f">{self._folder / 'avahi.log'} 2>&1",
            )
            self._wait_for(lambda: (self._folder / "avahi.log").exists() and "startup complete" in self.log)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        while self._processes:
            process = self._processes.pop()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(BOUND)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run(self, *argv: str, bound: float = BOUND) -> str:
        """What a client prints, whether or not it is content."""
        done = subprocess.run(
            self._namespace.argv(*argv),
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=bound,
        )
        return done.stdout + done.stderr

    @property
    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self._bus}", "LC_ALL": "C.UTF-8"}

    def _start(self, *argv: str) -> None:
        self._processes.append(subprocess.Popen(self._namespace.argv(*argv), env=self._environment))

    def _wait_for(self, happened: object) -> None:
        end = time.monotonic() + BOUND
        while not happened():  # type: ignore[operator]  # a callable without arguments
            if time.monotonic() > end or any(process.poll() is not None for process in self._processes):
                raise RuntimeError(
                    f"Avahi does not start:\n{self.log if (self._folder / 'avahi.log').exists() else ''}"
                )
            time.sleep(0.05)  # neither tells when it is ready by other means

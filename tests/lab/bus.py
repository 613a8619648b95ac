"""A system service with a bus of its own, in a namespace of the lab, and its clients.

Nothing of the machine's own bus and services is touched: the bus is a socket in the test's folder, and what a service
has at fixed places is covered in the mount namespace that `ip netns exec` makes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
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


class OnABus:
    """Use it as a context manager; entering waits until the service answers.

    script    starts the service, by `sh`
    is_ready  does what it has said so far, and what its clients say, show that?
    """

    def __init__(self, namespace: Namespace, folder: Path, script: str, is_ready: Callable[[Self], bool]) -> None:
        self._namespace = namespace
        self._folder = folder
        self._script = script
        self._is_ready = is_ready
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def log(self) -> str:
        """What the service has said."""
        file = self._folder / "log"
        return file.read_text() if file.exists() else ""

    def __enter__(self) -> Self:
        bus = self._folder / "bus"
        (self._folder / "bus.conf").write_text(BUS.format(path=bus))
        try:
            self._start(f"exec dbus-daemon --nofork --nopidfile --config-file={self._folder / 'bus.conf'} 2>/dev/null")
            self._wait_for(bus.exists)
            self._start(f"{{ {self._script}; }} >{self._folder / 'log'} 2>&1")
            self._wait_for(lambda: self._is_ready(self))
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

    def run(self, *argv: str) -> str:
        """What a client prints, whether or not it is content."""
        done = subprocess.run(
            self._namespace.argv(*argv),
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=BOUND,
        )
        return done.stdout + done.stderr

    @property
    def _environment(self) -> Mapping[str, str]:
        bus = f"unix:path={self._folder / 'bus'}"
        return {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus, "LC_ALL": "C.UTF-8"}

    def _start(self, script: str) -> None:
        self._processes.append(subprocess.Popen(self._namespace.argv("sh", "-c", script), env=self._environment))

    def _wait_for(self, happened: Callable[[], bool]) -> None:
        end = time.monotonic() + BOUND
        while not happened():
            if time.monotonic() > end or any(process.poll() is not None for process in self._processes):
                raise RuntimeError(f"it does not start:\n{self.log}")
            time.sleep(0.05)  # neither tells by other means when it is ready

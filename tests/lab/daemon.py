"""The daemon as a child process in a namespace: started, waited for by what it says, and stopped.

Nothing sleeps: readiness and end are read from the process.  A daemon that hangs is killed after a bound, and that
is an error.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .namespaces import Namespace

BOUND = 60.0
"""Seconds for anything that a child has to do: generous, for a loaded machine; never waited out when all is well."""


class Child:
    """A program in a namespace that tells its state by JSON lines on stderr, each with an `event`.

    Use it as a context manager: entering waits for the event "ready", leaving stops it by SIGTERM (or `stop_by`).
    `status` is then its exit status, `events` everything it said, `said` the lines as they were.
    """

    def __init__(
        self,
        namespace: Namespace,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        stop_by: signal.Signals = signal.SIGTERM,
        bound: float = BOUND,
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.status: int | None = None
        self._incoming: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._stop_by = stop_by
        self._bound = bound
        self._process = subprocess.Popen(
            namespace.argv(*argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, name=f"stderr of {argv[-1]}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """In a thread: a pipe that nobody empties would stop the child."""
        assert self._process.stderr is not None
        for raw in self._process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self.said.append(line)
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                self.events.append(event)
                self._incoming.put(event)
        self._incoming.put(None)

    def wait_for(self, *names: str) -> dict[str, Any]:
        """The next event of those names.  Raises RuntimeError where the child ends, or the bound passes, before it."""
        while True:
            try:
                event = self._incoming.get(timeout=self._bound)
            except queue.Empty:
                event = None
            if event is None:
                raise RuntimeError(f"no event {' or '.join(names)}; it said:\n" + "\n".join(self.said))
            if event.get("event") in names:
                return event

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self) -> int:
        """The signal, then wait for the end; the exit status."""
        if self.status is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(self._stop_by)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end, which something else has ordered; the exit status."""
        if self.status is None:
            try:
                self.status = self._process.wait(self._bound)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self.status = self._process.wait()
                raise
            finally:
                self._reader.join(self._bound)
                if self._reader.is_alive():  # as a Wine server that it began, and that does not end
                    raise RuntimeError(
                        f"{self._process.args!r} has ended, and another process holds its standard error"
                    )
                assert self._process.stderr is not None
                self._process.stderr.close()
        return self.status

    def __enter__(self) -> Self:
        try:
            self.wait_for("ready")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def totals(self, instance: str) -> dict[str, int]:
        """Outcome -> count of an instance over all interfaces, by the event "stopped": stop it first."""
        totals: dict[str, int] = {}
        (stopped,) = [event for event in self.events if event.get("event") == "stopped"]
        for outcomes in stopped["counters"].get(instance, {}).values():
            for outcome, count in outcomes.items():
                totals[outcome] = totals.get(outcome, 0) + count
        return totals


UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
"""Before a command line: it runs without any capability, but as root, so that this Python's files stay readable."""


def daemon(namespace: Namespace, config: Path | None, *, folder: Path, under: Sequence[str] = ()) -> Child:
    """`responderd run [CONFIG]` with `folder` as its working folder, started by the command `under`."""
    argv = [*under, sys.executable, "-m", "responder", "run", *([] if config is None else [str(config)])]
    return Child(namespace, argv, cwd=folder)

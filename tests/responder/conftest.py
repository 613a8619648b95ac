"""What the framework's tests share: distributions with plugins, installed for one test, and a system without threads.

The distributions are real ones as far as `importlib.metadata` can see: a folder on `sys.path` with a `dist-info`.
Nothing is installed into the environment.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import trio

Install = Callable[..., None]
"""install(distribution, source, **plugins): one with the module `<distribution>_module` and plugins as NAME="Class"."""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    before = set(sys.modules)

    def install_distribution(distribution: str, source: str, **plugins: str) -> None:
        module = f"{distribution}_module"
        (site / f"{module}.py").write_text(dedent(source), encoding="utf-8")
        info = site / f"{distribution}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n", encoding="utf-8")
        lines = [f"{name} = {module}:{cls}" for name, cls in plugins.items()]
        (info / "entry_points.txt").write_text("\n".join(["[responder.plugins]", *lines, ""]), encoding="utf-8")

    yield install_distribution
    for name in set(sys.modules) - before:
        if name.endswith("_module"):
            del sys.modules[name]


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread can be had, as at a limit of processes or tasks."""

    def start(*_: object) -> None:
        raise RuntimeError("can't start new thread")  # see `tests.responder.test_threads`

    async def run_sync(*_: Any, **__: Any) -> None:  # which may have idle threads
        await trio.lowlevel.checkpoint()
        start()

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)

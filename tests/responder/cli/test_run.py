"""`responderd run`: what is served, and the exit status."""

from __future__ import annotations

import errno
import os
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from responder.cli import main
from responder.config.reading import embedded_default
from responder.daemon import daemon
from responder.errors import BindError, ConfigError, ConfigErrors
from responder.net.handover import why_not_shared

from .support import Write, call

pytestmark = pytest.mark.usefixtures("alpha")

no_workers = why_not_shared()


def serve(monkeypatch: pytest.MonkeyPatch, outcome: int | BaseException) -> list[Path | None]:
    """Put a daemon in place that ends like this; the files it is given."""
    given: list[Path | None] = []

    def fake_run(file: Path | None) -> int:
        given.append(file)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(daemon, "run", fake_run)
    return given


@pytest.mark.parametrize("status", [0, 1])
def test_run_gives_the_daemons_status(monkeypatch: pytest.MonkeyPatch, write: Write, status: int) -> None:
    given = serve(monkeypatch, status)
    file = write("[plugins.echo]\nport = 7007\n")
    assert (
        call("run", file).exit_code == call("run", "--config", file).exit_code == call("run", "-").exit_code == status
    )
    assert given == [file, file, Path("-")]


def test_run_without_a_config_serves_the_embedded_default(monkeypatch: pytest.MonkeyPatch) -> None:
    given = serve(monkeypatch, 0)
    assert call("run").exit_code == 0
    assert given == [None]
    (instance,) = embedded_default().instances
    assert instance.services[0].port == 5300


def test_run_starts_nothing_on_a_bad_config(write: Write) -> None:
    file = write("[plugins.echo]\nprot = 7\n[plugins.two]\nport = 1\n")
    result = call("run", file)
    assert result.exit_code == 2
    said = result.stderr.splitlines()
    assert len(said) == 3
    assert all(line.startswith("error: ") for line in said)
    assert said[2] == f"error: {file}:3: plugins.two: prepare failed: KeyError: 'k'"


@pytest.mark.skipif(sys.platform == "win32", reason="users are POSIX'")
@pytest.mark.parametrize(
    "workers", [1, pytest.param(2, marks=pytest.mark.skipif(bool(no_workers), reason=str(no_workers)))]
)
def test_what_only_the_start_meets_is_told_with_its_place(write: Write, workers: int, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    start = f"[daemon]\nworkers = {workers}\n"
    serving = f"[plugins.echo]\nport = {port}\nlisten = ['127.0.0.1']\n"
    file = write(f"{start}user = 'nobody-of-that-name'\n{serving}")
    result = call("run", file)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [f"error: {file}:3: daemon.user: this host has no user 'nobody-of-that-name'"]
    (tmp_path / "file").touch()
    file = write(f"{start}state = 'file/x'\n{serving}")
    said = f"{file}:3: daemon.state: the folder {tmp_path / 'file/x'} can't be made: Not a directory"
    result = call("run", file)
    assert (result.exit_code, result.stderr.splitlines()) == (2, [f"error: {said}"])
    # Who checks may have other rights than who runs it.
    result = call("check", file)
    assert (result.exit_code, result.stderr.splitlines()) == (0, [f"warning: {said}"])


TAKEN = BindError(errno.EADDRINUSE, "port 53 is taken by named", port=53)


@pytest.mark.parametrize(
    ("raised", "status", "lines"),
    [
        (TAKEN, 1, ["error: port 53 is taken by named"]),
        (ExceptionGroup("", [TAKEN, ExceptionGroup("", [TAKEN])]), 1, ["error: port 53 is taken by named"] * 2),
        (
            ConfigErrors([ConfigError("a\nb", path="plugins.x"), ConfigError("c")]),
            2,
            ["error: plugins.x: a b", "error: c"],
        ),
        (ExceptionGroup("", [TAKEN, ConfigError("c")]), 2, ["error: port 53 is taken by named", "error: c"]),
    ],
)
def test_run_tells_whose_fault_it_is_by_its_status(
    monkeypatch: pytest.MonkeyPatch, write: Write, raised: Exception, status: int, lines: list[str]
) -> None:
    serve(monkeypatch, raised)
    result = call("run", write("[plugins.echo]\n"))
    assert (result.exit_code, result.stderr.splitlines()) == (status, lines)


@pytest.mark.usefixtures("no_thread")
@pytest.mark.parametrize("command", ["run", "check"])
def test_that_no_thread_can_be_had_is_the_systems_refusal(write: Write, command: str) -> None:
    result = call(command, write("[plugins.echo]\nport = 7007\n"))
    assert result.exit_code == 1
    assert result.stderr.startswith("error: no thread can be had: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.usefixtures("no_thread")
def test_that_goes_for_the_embedded_default_too() -> None:
    result = call("run")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: no thread can be had: ")


def test_run_hides_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, RuntimeError("bug"))
    with pytest.raises(RuntimeError, match="bug"):
        CliRunner().invoke(main, ["run"], catch_exceptions=False)


def test_run_takes_the_log_from_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("RESPONDERD_LOG_LEVEL", "RESPONDERD_LOG_FORMAT"):
        monkeypatch.setenv(variable, "")
    serve(monkeypatch, 0)
    assert call("run", "--log-level", "error", "--log-format", "journal").exit_code == 0
    assert (os.environ["RESPONDERD_LOG_LEVEL"], os.environ["RESPONDERD_LOG_FORMAT"]) == ("error", "journal")
    assert call("run", "--log-level", "loud").exit_code == 2
    monkeypatch.setenv("RESPONDERD_LOG_LEVEL", "loud")
    assert call("run").exit_code == 2

"""Several workers on one port: all answer, from the right address; they reload, die, hang and end as one daemon."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from responder.daemon.control_client import ask
from responder.daemon.recent_datagrams import KEPT
from tests.plugins_for_tests import install, with_plugins

from .daemon import Child, daemon
from .namespaces import Namespace
from .operating import (
    BOUND,
    CONTROL,
    HEAD,
    Load,
    asked_once,
    command,
    get,
    metrics,
    outcomes,
    rewrite,
    status,
    under_load,
)
from .test_operation import open_folder

__all__ = ["open_folder"]  # a fixture

pytestmark = pytest.mark.lab

CLIENTS = 32
"""As many that the kernel gives all of them to one of two workers once in two thousand million runs."""

ENDED = "a worker has ended and is started again"

WORKERS = HEAD + "workers = 2\n"
TELLING = WORKERS + "[plugins.telling]\n"
"""Each answer is the id of the process that gives it."""


@pytest.fixture
def under(tmp_path: Path) -> Sequence[str]:
    """Before the daemon's command line, so that it finds the plugins for tests."""
    site = install(tmp_path)
    shutil.copy(Path(__file__).with_name("telling.py"), site)
    info = site / "telling-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: telling\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[responder.plugins]\ntelling = telling:Telling\n", encoding="utf-8")
    return with_plugins(site)


@contextlib.contextmanager
def running(host: Namespace, folder: Path, text: str, under: Sequence[str] = ()) -> Iterator[Child]:
    config = folder / "config.toml"
    config.write_text(text)
    with daemon(host, config, folder=folder, under=under) as child:
        yield child


class Client:
    """One that asks from one port, and so one worker; connected, so that it hears the asked address alone."""

    def __init__(self, host: Namespace, destination: str = "::1", port: int = 7114) -> None:
        family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        self._socket = host.socket(family, socket.SOCK_DGRAM)
        self._socket.settimeout(BOUND)
        self._socket.connect((destination, port))

    def ask(self, payload: bytes = b"who?") -> int:
        """The process that answers.  Raises TimeoutError."""
        self._socket.send(payload)
        return int(self._socket.recv(100))

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def clients(host: Namespace, *destinations: str) -> Iterator[list[Client]]:
    made = [Client(host, destination) for destination in destinations or ("::1",) for _ in range(CLIENTS)]
    try:
        yield made
    finally:
        for client in made:
            client.close()


def workers(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = status(folder)["workers"]
    return found


def ended(pids: Sequence[int]) -> bool:
    """Do all of these processes end, within the bound?"""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([handle], [], [], BOUND)[0]:
                return False
        finally:
            os.close(handle)
    return True


class TestServing:
    def test_all_answer_from_the_address_that_was_asked(
        self, host: Namespace, under: Sequence[str], tmp_path: Path
    ) -> None:
        host.ip("addr add 10.71.0.1/24 dev lo", "addr add 10.71.0.2/24 dev lo", "addr add fd71::2/64 dev lo")
        with running(host, tmp_path, TELLING, under):
            pids = {each["pid"] for each in workers(tmp_path)}
            for destination in ("10.71.0.2", "fd71::2", "127.0.0.1"):
                with clients(host, destination) as asking:
                    assert {client.ask() for client in asking} == pids
        assert len(pids) == 2

    def test_status_metrics_and_what_is_said_at_the_end_are_sums(self, host: Namespace, tmp_path: Path) -> None:
        text = WORKERS + "[plugins.echo]\nport = 7007\n[plugins.other]\nuse = 'echo'\nport = 7008\n"
        with running(host, tmp_path, text) as child:
            for port in (7007, 7008):
                for _ in range(CLIENTS):
                    assert asked_once(host, port)
            found, measured = status(tmp_path), metrics(host)
            assert outcomes(found, "echo") == outcomes(found, "other") == {"answered": CLIENTS}
            assert found["pid"] == child.pid
            assert [(each["number"], each["state"], each["restarts"]) for each in found["workers"]] == [
                (0, "ready", 0),
                (1, "ready", 0),
            ]
            assert (found["not_ready"], get(host, "/ready")) == ([], (200, "ready\n"))
            labels = 'interface="lo",outcome="answered",plugin="echo"'
            assert measured[f"responderd_datagrams_total{{{labels}}}"] == CLIENTS
            assert measured['responderd_respond_seconds_count{plugin="echo",service="default"}'] == CLIENTS
            assert measured['responderd_worker_up{worker="1"}'] == 1
            shown = command(tmp_path, "status").stdout
            assert str(found["workers"][1]["pid"]) in shown
        assert child.status == 0, child.said
        assert child.totals("echo") == {"answered": CLIENTS}
        assert not [event for event in child.events if event["level"] == "error"]

    def test_the_page_shows_what_all_do(self, host: Namespace, tmp_path: Path) -> None:
        with running(host, tmp_path, WORKERS + "[plugins.echo]\nport = 7007\n"):
            code, page = get(host, "/")
            assert code == 200
            assert all(f">{each['pid']}</td>" in page for each in workers(tmp_path))
            for _ in range(CLIENTS):
                assert asked_once(host, 7007)
            found = json.loads(get(host, "/live.json")[1])["sections"]
            # As many as are kept, of all workers together.
            assert found["datagrams"].count("answered") == KEPT
            assert f">{CLIENTS}</td>" in found["outcomes"]

    def test_a_connection_is_served_whoever_accepts_it(self, host: Namespace, tmp_path: Path) -> None:
        with running(host, tmp_path, WORKERS + "[plugins.echo]\nport = 7007\n"):
            for number in range(CLIENTS):
                with host.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
                    sock.settimeout(BOUND)
                    sock.connect(("::1", 7007))
                    sock.sendall(str(number).encode())
                    assert sock.recv(100) == str(number).encode()

    def test_a_trace_shows_what_every_worker_does(self, host: Namespace, under: Sequence[str], tmp_path: Path) -> None:
        with running(host, tmp_path, TELLING, under) as child:
            answers = ask(tmp_path / CONTROL, {"request": "trace", "plugins": ["telling"]}, timeout=BOUND)
            assert next(answers) == {"tracing": True}
            # What is asked before a worker traces isn't seen, so ask until both do.
            seen: set[str] = set()
            with clients(host) as asking:
                whose = {str(client._socket.getsockname()[1]): client.ask() for client in asking}
                done = threading.Event()

                def keep_asking() -> None:
                    while not done.is_set():
                        for client in asking:
                            client.ask()

                asker = threading.Thread(target=keep_asking)
                asker.start()
                try:
                    while len({whose[port] for port in seen}) < 2:
                        line = next(answers)
                        if "datagram" in line:
                            seen.add(str(line["datagram"]["peer_port"]))
                finally:
                    done.set()
                    asker.join()
            with pytest.raises(Exception, match="there is no plugin 'dns'"):
                next(ask(tmp_path / CONTROL, {"request": "trace", "plugins": ["dns"]}, timeout=BOUND))
            answers.close()  # type: ignore[attr-defined] # it is a generator
        assert child.status == 0, child.said


class TestReload:
    def test_under_load_nothing_is_lost(self, host: Namespace, tmp_path: Path) -> None:
        text = WORKERS + '[plugins.echo]\nport = 7007\n[plugins.changing]\nuse = "echo"\nport = 7008\nmax_answer = {}\n'
        config = tmp_path / "config.toml"
        with running(host, tmp_path, text.format(1000)) as child:
            loads = [Load(host, port) for port in (7007, 7008) for _ in range(4)]
            with under_load(*loads):
                for number in range(10):
                    rewrite(config, text.format(1001 + number))
                    child.signal(signal.SIGHUP)
                    child.wait_for("reloaded")
            for load in loads:
                assert load.answered == load.asked > 10
        assert child.status == 0, child.said
        assert not [event for event in child.events if event["level"] == "error"]

    def test_it_is_all_or_none(self, host: Namespace, under: Sequence[str], tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        with running(host, tmp_path, TELLING, under), clients(host) as asking:
            before = {client.ask() for client in asking}
            for wrong, reason in (
                ("port = 7115\nprt = 1\n", "plugins.telling.prt: unknown key; did you mean 'port'?"),
                ("fails = true\nport = 7115\n", "plugins.telling.fails: not today"),
                ('groups = ["239.255.70.7"]\n', "plugins.telling.groups: not with several workers"),
            ):
                rewrite(config, TELLING + wrong)
                refused = command(tmp_path, "reload")
                assert refused.returncode == 2
                assert reason in refused.stderr
            assert {client.ask() for client in asking} == before
            with host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                sock.bind(("::1", 7115))  # it was given back

    def test_what_only_a_restart_changes_is_named(self, host: Namespace, tmp_path: Path) -> None:
        text = HEAD + "workers = 2\n[plugins.echo]\nport = 7007\n"
        with running(host, tmp_path, text):
            rewrite(tmp_path / "config.toml", text.replace("workers = 2", "workers = 3\nsettle = '1s'"))
            done = command(tmp_path, "reload")
            assert (done.returncode, len(workers(tmp_path))) == (0, 2)
            assert [line for line in done.stderr.splitlines() if "restart only" in line] == [
                "warning: daemon.settle is changed by a restart only",
                "warning: daemon.workers is changed by a restart only",
            ]

    def test_ports_come_and_go_for_all(self, host: Namespace, under: Sequence[str], tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        with running(host, tmp_path, TELLING, under) as child:
            pids = {each["pid"] for each in workers(tmp_path)}
            rewrite(config, TELLING + 'port = 7115\nlisten = ["127.0.0.1"]\n')
            assert command(tmp_path, "reload").returncode == 0
            asking = [Client(host, "127.0.0.1", 7115) for _ in range(CLIENTS)]
            assert {client.ask() for client in asking} == pids
            for client in asking:
                client.close()
            # The old port is free once the goodbyes are said, and may be had again before.
            rewrite(config, TELLING)
            assert command(tmp_path, "reload").returncode == 0
            with clients(host) as again:
                assert {client.ask() for client in again} == pids
        assert child.status == 0, child.said


class TestDeath:
    def test_the_others_go_on_and_it_is_soon_back(self, host: Namespace, under: Sequence[str], tmp_path: Path) -> None:
        with running(host, tmp_path, TELLING, under) as child, clients(host) as asking:
            by_pid: dict[int, list[Client]] = {}
            for client in asking:
                by_pid.setdefault(client.ask(), []).append(client)
            (victim, its), (other, others) = by_pid.items()
            status(tmp_path)
            os.kill(victim, signal.SIGKILL)
            assert {client.ask() for client in others} == {other}
            # What is asked meanwhile waits in the queue, which the next one gets.
            (successor,) = {client.ask() for client in its}
            child.wait_for(ENDED)
            assert successor not in (victim, other)
            found = status(tmp_path)
            assert sorted(each["restarts"] for each in found["workers"]) == [0, 1]
            assert found["not_ready"] == []
            # What the dead one had counted is not forgotten.
            assert outcomes(found, "telling") == {"answered": 2 * CLIENTS}
        assert child.status == 0, child.said

    def test_one_that_hangs_is_replaced(self, host: Namespace, under: Sequence[str], tmp_path: Path) -> None:
        with running(host, tmp_path, TELLING, under) as child, clients(host) as asking:
            victim = asking[0].ask()
            os.kill(victim, signal.SIGSTOP)
            child.wait_for("a worker hangs and is killed")
            assert asking[0].ask() != victim
        assert child.status == 0, child.said

    def test_one_that_cannot_start_again_is_named(self, host: Namespace, under: Sequence[str], tmp_path: Path) -> None:
        needed = tmp_path / "needed"
        needed.write_text("")
        with running(host, tmp_path, TELLING + 'needs = "needed"\n', under) as child, clients(host) as asking:
            victim = asking[0].ask()
            needed.unlink()
            os.kill(victim, signal.SIGKILL)
            while "plugins.telling.needs: can't be read" not in child.wait_for(ENDED)["reason"]:
                pass
            code, body = get(host, "/ready")
            assert (code, "worker" in body) == (503, True)
            needed.write_text("")
            assert asking[0].ask() != victim
        assert child.status == 0, child.said

    def test_no_worker_outlives_the_parent(self, host: Namespace, under: Sequence[str], tmp_path: Path) -> None:
        text = WORKERS + "[plugins.echo]\nport = 7007\n[plugins.holding]\nseconds = 600.0\n"
        with running(host, tmp_path, text, under) as child:
            pids = [each["pid"] for each in workers(tmp_path)]
            with host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"hold one of them", ("::1", 7105))
            child.signal(signal.SIGKILL)
            assert ended(pids)


class TestStopping:
    def test_it_ends_within_the_grace_period_with_all_workers(self, host: Namespace, tmp_path: Path) -> None:
        with running(host, tmp_path, WORKERS + "[plugins.echo]\nport = 7007\n") as child:
            pids = [each["pid"] for each in workers(tmp_path)]
        assert child.status == 0, child.said
        assert ended(pids)
        assert "a worker does not end though its time is over" not in [event["event"] for event in child.events]

    def test_one_that_is_held_up_does_not_hold_up_the_end(
        self, host: Namespace, under: Sequence[str], tmp_path: Path
    ) -> None:
        with running(host, tmp_path, WORKERS + "[plugins.holding]\nseconds = 600.0\n", under) as child:
            with host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"hold one of them", ("::1", 7105))
            assert child.stop() == 1
        child.wait_for("a worker does not end though its time is over")


class TestRefused:
    @pytest.mark.parametrize(
        ("table", "reason"),
        [
            ('[plugins.echo]\nport = 7\ngroups = ["239.255.70.7"]\n', "plugins.echo.groups: not with several workers"),
            ("[plugins.echo]\nport = 0\n", "plugins.echo.port: not 0 with several workers"),
            ("[plugins.mortal]\n", "plugins.mortal: not with several workers: the plugin's background work (run)"),
        ],
    )
    def test_what_cannot_be_divided(
        self, host: Namespace, under: Sequence[str], tmp_path: Path, table: str, reason: str
    ) -> None:
        config = tmp_path / "config.toml"
        config.write_text(WORKERS + table)
        child = daemon(host, config, folder=tmp_path, under=under)
        with pytest.raises(RuntimeError, match="no event ready"):
            child.wait_for("ready")
        assert child.stop() == 2
        assert [line for line in child.said if line.startswith("error: ") and reason in line]

    def test_a_port_that_another_program_has(self, host: Namespace, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        text = WORKERS + "[plugins.echo]\nport = 7007\n"
        with running(host, tmp_path, text):
            # Neither daemon shares with the other, though both ask the kernel to share.
            (tmp_path / "other").mkdir()
            config = tmp_path / "other" / "config.toml"
            config.write_text(text)
            child = daemon(host, config, folder=config.parent)
            with pytest.raises(RuntimeError, match="UDP port 7007 is taken by"):
                child.wait_for("ready")
            assert child.stop() == 1

"""The running daemon, operated: plugins that misbehave beside good ones, reloads under load, an end at any moment."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins_for_tests import with_plugins

from .daemon import daemon
from .namespaces import Namespace
from .operating import (
    BOUND,
    CONTROL,
    HEAD,
    Load,
    asked_once,
    command,
    descriptors,
    exchange,
    fields,
    get,
    instance,
    metrics,
    outcomes,
    rewrite,
    send,
    status,
    under_load,
)

pytestmark = pytest.mark.lab

RELOADS = int(os.environ.get("RESPONDER_TEST_RELOADS", "20"))
"""SIGHUPs, one each tenth of a second."""

KILLS = 8
"""Ends by SIGKILL, each at another moment."""

BASE = (
    HEAD
    + """
[plugins.echo]
port = 7007

[plugins.changing]
use = "echo"
port = 7008
max_answer = {size}
"""
)

MISBEHAVING = (
    HEAD
    + """
[plugins.echo]
port = 7007

[plugins.raising]
[plugins.sleeping]
[plugins.stillborn]
[plugins.amplifying]
amplification = 3.0

[plugins.too-much]
use = "amplifying"
port = 7204
max_answer = 1400
"""
)


class TestMisbehaving:
    def test_each_shows_in_status_and_metrics_and_the_good_one_answers(
        self, host: Namespace, site: Path, tmp_path: Path
    ) -> None:
        config = tmp_path / "config.toml"
        config.write_text(MISBEHAVING)
        with daemon(host, config, folder=tmp_path, under=with_plugins(site)) as child:
            load = Load(host, 7007)
            with under_load(load):
                for port in (7101, 7104, 7204):
                    send(host, port, bytes(20), count=10)
                assert exchange(host, 7102, b"slow") == b"slow"
                # Each port's datagrams are taken in order: behind one that is answered, the rest have been.
                child.wait_for("respond failed")
            assert load.answered == load.asked > 100
            found, measured = status(tmp_path), metrics(host)
            shown = command(tmp_path, "status").stdout
        assert outcomes(found, "raising") == {"crashed": 10}
        assert "LookupError: no such thing" in instance(found, "raising")["last_error"]["message"]
        assert outcomes(found, "amplifying") == {"amplification": 10}
        assert outcomes(found, "too-much") == {"too-long": 10}
        stillborn = instance(found, "stillborn")
        assert stillborn["restarts"] > 0
        assert "ConnectionError: no database here" in stillborn["last_error"]["message"]
        for name, outcome in (("raising", "crashed"), ("amplifying", "amplification"), ("too-much", "too-long")):
            labels = f'interface="lo",outcome="{outcome}",plugin="{name}"'
            assert measured[f"responderd_datagrams_total{{{labels}}}"] == 10
            assert re.search(rf"{name} +lo +0 +{outcome} 10", shown)
        assert measured['responderd_restarts_total{plugin="stillborn"}'] == stillborn["restarts"]

    def test_a_blocking_one_shows_how_long_it_takes(self, host: Namespace, site: Path, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text(HEAD + "[plugins.sleeping]\nseconds = 0.5\n")
        with daemon(host, config, folder=tmp_path, under=with_plugins(site)) as child:
            assert exchange(host, 7102, b"slow") == b"slow"
            assert instance(status(tmp_path), "sleeping")["slowest"] >= 0.5
            assert metrics(host)['responderd_respond_seconds_sum{plugin="sleeping",service="default"}'] >= 0.5
            # It is its right: a thread of its own holds nothing up.
            assert "respond held the loop up" not in [event["event"] for event in child.events]

    @pytest.mark.parametrize(
        ("name", "port", "request_"),
        [
            ("holding", 7105, b"hold"),
            ("holding", 7105, b"!raise"),
            ("holding-async", 7106, b"hold"),
        ],
    )
    def test_one_that_holds_the_loop_is_named(
        self, host: Namespace, site: Path, tmp_path: Path, name: str, port: int, request_: bytes
    ) -> None:
        config = tmp_path / "config.toml"
        config.write_text(f"{HEAD}[plugins.{name}]\n[plugins.echo]\nport = 7007\n")
        with daemon(host, config, folder=tmp_path, under=with_plugins(site)) as child:
            send(host, port, request_)
            # Its status comes after what held the loop up.
            assert asked_once(host, 7007)
            assert instance(status(tmp_path), name)["slowest"] >= 0.3
            named = child.wait_for("respond held the loop up")
            assert (named["plugin"], named["level"]) == (name, "warning")
            assert named["seconds"] >= 0.3
            assert re.search(rf"{name} .* 3\d\d ms", command(tmp_path, "status").stdout)

    @pytest.mark.parametrize(
        ("name", "port"),
        [
            ("speechless", 7107),
            ("quitting", 7109),
            ("impatient", 7108),
        ],
    )
    def test_none_takes_the_others_down(
        self, host: Namespace, site: Path, tmp_path: Path, name: str, port: int
    ) -> None:
        config = tmp_path / "config.toml"
        config.write_text(f"{HEAD}[plugins.{name}]\n[plugins.echo]\nport = 7007\n")
        with daemon(host, config, folder=tmp_path, under=with_plugins(site)) as child:
            send(host, port, b"hello")
            load = Load(host, 7007, patience=5.0)
            load.ask()
            load.close()
            assert load.answered == 1
        assert child.status == 0

    def test_one_that_never_ran_shows_in_the_exit_status(self, host: Namespace, site: Path, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text(HEAD + "[plugins.stillborn]\n[plugins.echo]\nport = 7007\n")
        with daemon(host, config, folder=tmp_path, under=with_plugins(site)) as child:
            assert asked_once(host, 7007)
        assert child.status == 1


class TestReload:
    def test_under_load_it_loses_no_query_and_leaks_nothing(self, host: Namespace, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text(BASE.format(size=1000))
        with daemon(host, config, folder=tmp_path) as child:
            before = descriptors(child)
            loads = [Load(host, 7007), Load(host, 7008)]
            with under_load(*loads):
                for number in range(RELOADS):
                    rewrite(config, BASE.format(size=1001 + number))
                    child.signal(signal.SIGHUP)
                    time.sleep(0.1)  # the pace is what is tested; nothing is waited for
                rewrite(config, BASE.format(size=60_000))
                child.signal(signal.SIGHUP)
                child.wait_for("reloaded")
            for load in loads:
                assert load.answered == load.asked > RELOADS
            # What a reload under way may still hold is bounded by the one that was.
            assert descriptors(child) <= before + 1
        assert child.status == 0
        assert not [event for event in child.events if event["level"] in ("warning", "error")]

    def test_a_broken_config_is_named_and_changes_nothing(self, host: Namespace, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text(BASE.format(size=1000))
        with daemon(host, config, folder=tmp_path) as child:
            rewrite(config, BASE.format(size='"big"'))
            child.signal(signal.SIGHUP)
            refused = child.wait_for("the new configuration is refused")
            assert "plugins.changing.max_answer: expected a size" in refused["reason"]
            asked = command(tmp_path, "reload")
            assert asked.returncode == 2
            assert "plugins.changing.max_answer: expected a size" in asked.stderr
            assert asked_once(host, 7008)
        assert child.status == 0

    def test_what_is_added_answers_and_what_is_removed_is_gone(self, host: Namespace, tmp_path: Path) -> None:
        host.ip("addr add 127.0.0.9/8 dev lo")
        config = tmp_path / "config.toml"
        config.write_text(BASE.format(size=1000))
        with daemon(host, config, folder=tmp_path) as child:
            load = Load(host, 7007)
            with under_load(load):
                config_after = BASE.format(size=1000).replace("7008", "7009")
                config_after += '\n[plugins.added]\nuse = "echo"\nport = 7010\nlisten = ["127.0.0.9"]\n'
                rewrite(config, config_after)
                done = command(tmp_path, "reload")
                assert (done.returncode, done.stdout) == (0, "reloaded\n")
                assert asked_once(host, 7009)
                with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.settimeout(BOUND)
                    sock.connect(("127.0.0.9", 7010))
                    sock.send(b"x")
                    assert sock.recv(10) == b"x"
                # The socket of the port that is gone stays for goodbyes, and answers nobody.
                ports = [port["number"] for port in status(tmp_path)["ports"]]
                assert sorted(ports) == [7007, 7009, 7010]
            assert load.answered == load.asked
            # Its state too: it went on untouched.
            assert outcomes(status(tmp_path), "echo")["answered"] == load.answered
        assert child.status == 0

    def test_from_the_wildcard_to_an_address_and_back(self, host: Namespace, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        wildcard = BASE.format(size=1000)
        config.write_text(wildcard)
        with daemon(host, config, folder=tmp_path) as child:
            for text in (wildcard.replace("port = 7007", 'port = 7007\nlisten = ["::1"]'), wildcard):
                rewrite(config, text)
                assert command(tmp_path, "reload").returncode == 0
                load = Load(host, 7007, patience=2.0)
                load.ask()
                load.close()
                assert load.answered == 1
        assert child.status == 0

    def test_a_prepare_that_hangs_does_not_hold_up_the_end(self, host: Namespace, site: Path, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        slow = HEAD + "[plugins.slow-to-prepare]\n"
        config.write_text(slow)
        with daemon(host, config, folder=tmp_path, under=with_plugins(site)) as child:
            rewrite(config, slow + "seconds = 3600.0\n")
            child.signal(signal.SIGHUP)
            child.wait_for("preparing")
            assert asked_once(host, 7110)
            # Longer than BOUND raises.
            assert child.stop() == 0


class TestKill:
    """`kill -9` at any moment leaves nothing that stops the next start."""

    @staticmethod
    def serves(host: Namespace, config: Path) -> None:
        with daemon(host, config, folder=config.parent) as child:
            assert asked_once(host, 7007)
            assert command(config.parent, "status").returncode == 0
            assert get(host, "/health")[0] == 200
        assert child.status == 0
        assert not (config.parent / CONTROL).exists()

    def test_while_it_starts(self, host: Namespace, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text(BASE.format(size=1000))
        began = time.monotonic()
        with daemon(host, config, folder=tmp_path):
            to_start = time.monotonic() - began
        moments = random.Random(9)  # noqa: S311 - the same moments each time
        for _ in range(KILLS):
            child = daemon(host, config, folder=tmp_path)
            time.sleep(moments.uniform(0, to_start * 1.2))  # the moment is what is tested; nothing is waited for
            child.signal(signal.SIGKILL)
            assert child.stop() == -signal.SIGKILL
        self.serves(host, config)

    def test_while_it_reloads_under_load(self, host: Namespace, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        moments = random.Random(9)  # noqa: S311 - the same moments each time
        for number in range(KILLS):
            rewrite(config, BASE.format(size=1000))
            with daemon(host, config, folder=tmp_path) as child:
                assert (tmp_path / CONTROL).exists()
                loads = [Load(host, 7007, patience=0.5), Load(host, 7008, patience=0.5)]
                # A connection of each kind in the middle: what the kernel keeps of it must not hold a port.
                with (
                    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control,
                    host.socket(socket.AF_INET6, socket.SOCK_STREAM) as echo,
                    host.socket(socket.AF_INET, socket.SOCK_STREAM) as scraper,
                    under_load(*loads),
                ):
                    control.connect(str(tmp_path / CONTROL))
                    echo.connect(("::1", 7007))
                    scraper.connect(("127.0.0.1", 9153))
                    rewrite(config, BASE.format(size=2000 + number))
                    child.signal(signal.SIGHUP)
                    time.sleep(moments.uniform(0, 0.1))  # the moment is what is tested; nothing is waited for
                    child.signal(signal.SIGKILL)
                    assert child.stop() == -signal.SIGKILL
        self.serves(host, config)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that every user may read, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_a_daemon_gives_up_its_rights_once_its_ports_are_open(host: Namespace, open_folder: Path) -> None:
    config = open_folder / "config.toml"
    config.write_text('[daemon]\nuser = "nobody"\n[plugins.echo]\nport = 7\n')
    with daemon(host, config, folder=open_folder) as child:
        rights = fields(child)
        assert "0" not in rights["Uid"].split()
        assert int(rights["CapEff"], 16) == int(rights["CapPrm"], 16) == 0
        assert asked_once(host, 7)
        # A low port can no longer be had: the reload says so and changes nothing.
        rewrite(config, '[daemon]\nuser = "nobody"\n[plugins.echo]\nport = 8\n')
        child.signal(signal.SIGHUP)
        refused = child.wait_for("the new configuration is refused")
        assert "UDP port 8: no right to bind" in refused["reason"]
        assert asked_once(host, 7)
    assert child.status == 0

"""How a running daemon starts and ends: signals before it is ready, plugins that can't start, or won't end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.plugins_for_tests import with_plugins

from .daemon import daemon
from .namespaces import Namespace
from .operating import CONTROL, HEAD, asked_once, command, exchange, get, instance, metrics, outcomes, rewrite, status

pytestmark = pytest.mark.lab

ECHO = HEAD + "[plugins.echo]\nport = 7007\n"


class TestSignalsDuringTheStart:
    """While a plugin prepares, which takes it an hour."""

    SLOW = HEAD + "[plugins.slow-to-prepare]\nseconds = 3600.0\n"

    def test_an_end_is_an_end_at_once(self, host: Namespace, site: Path, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text(self.SLOW)
        child = daemon(host, config, folder=tmp_path, under=with_plugins(site))
        try:
            child.wait_for("preparing")
        finally:
            child.stop()  # longer than its bound raises
        assert child.status == 0
        assert child.events[-1]["event"] == "stopping"

    def test_a_reload_is_done_as_soon_as_it_serves(self, host: Namespace, site: Path, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text(HEAD + "[plugins.slow-to-prepare]\nseconds = 1.0\n")
        child = daemon(host, config, folder=tmp_path, under=with_plugins(site))
        try:
            child.wait_for("preparing")
            rewrite(config, ECHO)
            child.signal(signal.SIGHUP)
            child.wait_for("reloaded")
            assert asked_once(host, 7007)
        finally:
            assert child.stop() == 0


class TestPluginThatCannotStart:
    CONFIG = ECHO + "[plugins.unprepared]\n"

    def test_the_others_serve_and_it_is_named(self, host: Namespace, site: Path, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text(self.CONFIG)
        with daemon(host, config, folder=tmp_path, under=with_plugins(site)) as child:
            assert asked_once(host, 7007)
            found = status(tmp_path)
            assert instance(found, "unprepared")["state"] == "failed"
            assert "ZeroDivisionError: a mistake of mine" in instance(found, "unprepared")["last_error"]["message"]
            assert get(host, "/ready") == (503, "unprepared is failed\n")
            assert metrics(host)['responderd_plugin_up{plugin="unprepared"}'] == 0
            shown = command(tmp_path, "status").stdout
            assert "not ready: unprepared is failed" in shown
        assert child.status == 1
        assert child.events[0]["event"] == "the plugin can't start"

    def test_one_that_cannot_even_be_loaded(self, host: Namespace, site: Path, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text("[plugins.unloadable]\nport = 9\n" + ECHO)
        with daemon(host, config, folder=tmp_path, under=with_plugins(site)) as child:
            assert asked_once(host, 7007)
            found = instance(status(tmp_path), "unloadable")
            assert found["state"] == "failed"
            assert "AttributeError: module 'misbehaving' has no" in found["last_error"]["message"]
            assert get(host, "/ready") == (503, "unloadable is failed\n")
            assert command(tmp_path, "reload").returncode == 0
        assert child.status == 1

    def test_a_reload_mends_it(self, host: Namespace, site: Path, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text(self.CONFIG)
        with daemon(host, config, folder=tmp_path, under=with_plugins(site)) as child:
            # While it is broken others can be changed all the same.
            rewrite(config, self.CONFIG.replace("7007", "7008"))
            assert command(tmp_path, "reload").returncode == 0
            assert asked_once(host, 7008)
            rewrite(config, self.CONFIG + "works = true\n")
            assert command(tmp_path, "reload").returncode == 0
            assert exchange(host, 7112, b"mended") == b"mended"
            assert get(host, "/ready")[0] == 200
            # And one that works is not lost by a reload.
            rewrite(config, self.CONFIG)
            refused = command(tmp_path, "reload")
            assert refused.returncode == 2
            assert "plugins.unprepared: prepare failed: ZeroDivisionError: a mistake of mine" in refused.stderr
            assert exchange(host, 7112, b"still") == b"still"
        assert child.status == 0

    def test_a_new_one_is_refused_by_a_reload(self, host: Namespace, site: Path, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text(ECHO)
        with daemon(host, config, folder=tmp_path, under=with_plugins(site)) as child:
            rewrite(config, self.CONFIG)
            assert command(tmp_path, "reload").returncode == 2
            assert asked_once(host, 7007)
        assert child.status == 0


class TestPluginThatCannotBeEnded:
    CONFIG = ECHO + "[plugins.shielded]\n"

    def test_the_process_ends_and_it_is_named(self, host: Namespace, site: Path, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text(self.CONFIG)
        with daemon(host, config, folder=tmp_path, under=with_plugins(site)) as child:
            assert asked_once(host, 7007)
        # Longer than the bound of `stop` raises.
        assert child.status == 1
        assert [event["plugin"] for event in child.events if event["level"] == "error"] == ["shielded"]
        assert not (tmp_path / CONTROL).exists()
        assert child.totals("echo") == {"answered": 1}

    def test_its_successor_does_not_wait_for_it(self, host: Namespace, site: Path, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text(self.CONFIG)
        with daemon(host, config, folder=tmp_path, under=with_plugins(site)) as child:
            rewrite(config, self.CONFIG + 'word = "new"\n')
            assert command(tmp_path, "reload").returncode == 0
            assert exchange(host, 7113, b"old") == b"new"
            named = child.wait_for("a plugin does not end though its time is over")
            assert named["plugin"] == "shielded"
            assert status(tmp_path)["lingering"] == ["shielded"]
            assert "replaced, but still running: shielded" in command(tmp_path, "status").stdout
            assert outcomes(status(tmp_path), "shielded") == {"answered": 1}
        assert child.status == 1

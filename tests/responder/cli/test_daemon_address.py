"""Where the commands look for a running daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from responder.cli.daemon_address import CONTROL_VARIABLE
from responder.net.folders import control_path

from .support import STATUS, FakeDaemon, call


class TestWhereItAsks:
    def asked(self, daemon: FakeDaemon, *arguments: str | Path) -> Path:
        daemon.answers = [{"status": STATUS}]
        assert call("status", *arguments).exit_code == 0
        return daemon.asked[-1][0]

    def test_the_option_the_config_the_variable_the_default(
        self, daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = tmp_path / "a.toml"
        config.write_text("[daemon]\ncontrol = 'here.sock'\n[plugins.nonsense]\n")
        assert self.asked(daemon) == control_path()
        monkeypatch.setenv(CONTROL_VARIABLE, "/from/variable")
        assert self.asked(daemon) == Path("/from/variable")
        assert self.asked(daemon, "--config", config) == tmp_path / "here.sock"
        assert self.asked(daemon, "--config", config, "--control", "/b") == Path("/b")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[daemon]\n", "daemon.control: there is none, so its daemon can't be asked"),
            ("[daemon]\ncontrol = 7\n", "daemon.control: there is none"),
            ("daemon = 7\n", "daemon.control: there is none"),
            ("[daemon\n", "is not TOML"),
            ("a = " + "[" * 5000, "is nested too deeply"),
            (None, "can't be read: No such file"),
        ],
    )
    def test_a_config_that_does_not_say_is_a_mistake(
        self, daemon: FakeDaemon, tmp_path: Path, text: str | None, message: str
    ) -> None:
        config = tmp_path / "a.toml"
        if text is not None:
            config.write_text(text)
        for command in ("status", "trace", "reload"):
            result = call(command, "--config", config)
            assert result.exit_code == 2
            assert message in result.stderr
        assert daemon.asked == []


@pytest.mark.parametrize("command", ["status", "trace", "reload"])
def test_no_daemon(command: str, tmp_path: Path) -> None:
    result = call(command, "--control", tmp_path / "no.sock")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: no daemon listens at {tmp_path / 'no.sock'}: is it running")
    assert result.stdout == ""

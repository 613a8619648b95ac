"""`responderd status`: how a running daemon is."""

from __future__ import annotations

import json

from .support import STATUS, FakeDaemon, call


class TestStatus:
    def test_for_people(self, daemon: FakeDaemon) -> None:
        daemon.answers = [{"status": STATUS}]
        result = call("status")
        assert result.exit_code == 0
        lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
        assert lines[:2] == [
            "responderd 1.2, process 77, /etc/a.toml",
            "up 1 d 1 h, not ready: echo is restarting",
        ]
        assert any(line.startswith("dns Dns ready 0 3 1 2.1 ms 2023-11-1") for line in lines)
        assert "[red]echo Echo restarting 5 0 0" in lines
        assert "dns formerr 20, noerror 9" in lines
        assert "dns lan: lab-2" in lines
        assert "dns wan: lab-3" in lines
        assert "53/udp+tcp * dns, [red]echo 4096 KiB 9" in lines
        assert "53 * failed-receives 4" in lines
        assert "lan 53 224.0.0.251 232.1.1.1 from 10.0.0.1" in lines
        assert "dns lan 100 off-link 30, denied 2" in lines
        assert "\x1b" not in result.stdout

    def test_as_json_is_json_alone(self, daemon: FakeDaemon) -> None:
        daemon.answers = [{"status": STATUS}]
        assert json.loads(call("status", "--json").stdout) == STATUS

    def test_a_daemon_that_ends_meanwhile(self, daemon: FakeDaemon) -> None:
        result = call("status")
        assert result.exit_code == 1
        assert "ended before it answered" in result.stderr

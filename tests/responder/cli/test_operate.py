"""The commands `status`, `trace` and `reload`: where they ask, what they print, and how they end."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from responder.cli import main
from responder.cli.operate import CONTROL_VARIABLE, DEFAULT_CONTROL, duration, trace_line
from responder.daemon import control
from responder.errors import NetworkError, ResponderError

ERROR = {"time": 1700000000.0, "level": "error", "plugin": "dns", "message": "respond failed: \x1b[31mred"}
STATUS: dict[str, Any] = {
    "version": "1.2",
    "pid": 77,
    "uptime": 90061.0,
    "config": "/etc/a.toml",
    "ready": True,
    "failed": False,
    "lingering": ["old"],
    "not_ready": ["echo is restarting"],
    "instances": [
        {
            **{"name": "dns", "plugin": "Dns", "state": "ready", "restarts": 0, "pending": 3, "connections": 1},
            **{"slowest": 0.0021, "last_error": ERROR, "events": {"noerror": 9, "formerr": 20}},
        },
        {
            **{"name": "[red]echo", "plugin": "Echo", "state": "restarting", "restarts": 5, "pending": 0},
            **{"connections": 0, "slowest": 0.0, "last_error": None},
        },
    ],
    "ports": [
        {
            **{"number": 53, "address": None, "transports": ["udp", "tcp"], "plugins": ["dns", "[red]echo"]},
            **{"receive_buffer": 4194304, "kernel_drops": 9},
        }
    ],
    "groups": [
        {"port": 53, "interface": "lan", "joined": ["224.0.0.251"], "missing": ["232.1.1.1 from 10.0.0.1"]},
    ],
    "group_failures": 1,
    "counters": {"dns": {"lan": {"answered": 100, "denied": 2, "off-link": 30}}},
    "latencies": [],
    "errors": [ERROR],
    "control": {"clients": 1, "refused": 0, "cut": 0},
}
DATAGRAM: dict[str, Any] = {
    "time": 1700000000.5,
    "transport": "udp",
    "port": 53,
    "peer": "fe80::9",
    "peer_port": 40000,
    "scope_id": 2,
    "destination": "fe80::1",
    "interface": "lan",
    "via": "unicast",
    "plugin": "dns",
    "outcome": "answered",
    "reason": "",
    "bytes": 3,
    "further": False,
    "answers": [{"source": "fe80::1", "to": "fe80::9", "to_port": 40000, "bytes": 4, "payload": "Zm91cg=="}],
    "payload": "b25l",
}
REFUSED = {**DATAGRAM, "peer": "10.71.0.9", "scope_id": 0, "destination": "10.71.0.2", "plugin": "-", "answers": []}
REFUSED = {**REFUSED, "outcome": "denied", "reason": "the peer may not ask (allow, deny)"}


class FakeDaemon:
    """In place of `control.ask`: gives `answers`, then raises `error` if there is one; notes what it was asked."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.error: BaseException | None = None
        self.asked: list[tuple[Path, Mapping[str, Any]]] = []

    def __call__(
        self, path: Path, request: Mapping[str, Any], *, timeout: float | None = None
    ) -> Iterator[dict[str, Any]]:
        del timeout
        self.asked.append((path, request))
        yield from self.answers
        if self.error is not None:
            raise self.error


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> FakeDaemon:
    fake = FakeDaemon()
    monkeypatch.setattr(control, "ask", fake)
    monkeypatch.delenv(CONTROL_VARIABLE, raising=False)
    return fake


def call(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


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
        assert self.asked(daemon) == DEFAULT_CONTROL
        monkeypatch.setenv(CONTROL_VARIABLE, "/from/variable")
        assert self.asked(daemon) == Path("/from/variable")
        assert self.asked(daemon, "--config", config) == tmp_path / "here.sock"
        assert self.asked(daemon, "--config", config, "--control", "/b") == Path("/b")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[daemon]\n", "daemon.control: there is none, so its daemon can't be asked"),
            ("[daemon]\ncontrol = 7\n", "daemon.control: there is none"),
            ("daemon = 7\n", "can't be read"),
            ("[daemon\n", "can't be read"),
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
        assert "53/udp+tcp * dns, [red]echo 4096 KiB 9" in lines
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


class TestReload:
    def test_done(self, daemon: FakeDaemon) -> None:
        daemon.answers = [{"reload": []}]
        result = call("reload")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "reloaded\n", "")

    def test_refused(self, daemon: FakeDaemon) -> None:
        daemon.answers = [{"reload": ["plugins.dns.prot: unknown key", "UDP port 53 is taken"]}]
        result = call("reload")
        assert result.exit_code == 2
        assert result.stderr == "error: plugins.dns.prot: unknown key\nerror: UDP port 53 is taken\n"


class TestTrace:
    def test_lines_until_interrupted_and_a_summary(self, daemon: FakeDaemon) -> None:
        daemon.answers = [{"tracing": True}, {"datagram": DATAGRAM}, {"datagram": REFUSED}, {"lost": 3}]
        daemon.error = KeyboardInterrupt()
        result = call("trace", "--peer", "10.71.0.9/24", "--plugin", "dns", "--plugin", "echo")
        assert result.exit_code == 0
        first, second, third = result.stdout.splitlines()
        assert first.endswith("[fe80::9%2]:40000 > [fe80::1]:53 lan unicast dns: answered, 3 in, 4 out")
        assert second.endswith(
            "10.71.0.9:40000 > 10.71.0.2:53 lan unicast -: denied (the peer may not ask (allow, deny)), 3 in"
        )
        assert third == "... 3 lost: more than could be read"
        assert re.fullmatch(r"\d+ us|[\d.]+ ms", result.stderr.partition(":")[0])
        assert result.stderr.endswith(": lost 3, answered 1, denied 1\n")
        assert daemon.asked == [
            (
                DEFAULT_CONTROL,
                {"request": "trace", "peers": ["10.71.0.0/24"], "plugins": ["dns", "echo"], "payloads": False},
            )
        ]

    def test_as_json_each_line_is_json(self, daemon: FakeDaemon) -> None:
        daemon.answers = [{"tracing": True}, {"datagram": DATAGRAM}, {"lost": 3}]
        daemon.error = KeyboardInterrupt()
        assert [json.loads(line) for line in call("trace", "--json").stdout.splitlines()] == daemon.answers[1:]

    def test_the_daemons_end_is_no_success(self, daemon: FakeDaemon) -> None:
        result = call("trace")
        assert result.exit_code == 1
        assert "the daemon has ended" in result.stderr

    def test_what_the_daemon_objects_to(self, daemon: FakeDaemon) -> None:
        daemon.error = ResponderError("there is no plugin 'x'")
        assert call("trace").exit_code == 2
        daemon.error = NetworkError(1, "not allowed")
        assert call("trace").exit_code == 1

    def test_a_peer_that_is_no_prefix(self, daemon: FakeDaemon) -> None:
        assert call("trace", "--peer", "10.0.0.0/33").exit_code == 2
        assert daemon.asked == []

    def test_a_line_tells_what_is_special(self) -> None:
        there = {**DATAGRAM, "answers": [{**DATAGRAM["answers"][0], "to": "ff02::fb", "to_port": 5353}]}
        assert trace_line(there).endswith("3 in, 4 out to [ff02::fb%2]:5353")
        assert " > port 53 lan " in trace_line({**DATAGRAM, "destination": None})
        assert " > [fe80::1]:53 tcp lan " in trace_line({**DATAGRAM, "transport": "tcp"})
        assert trace_line({**DATAGRAM, "further": True}).endswith(", again in, 4 out")
        for key in ("reason", "interface"):
            assert trace_line({**DATAGRAM, key: "\x1b[31m\n"}).isprintable()

    @pytest.mark.clients("tcpdump")
    def test_write_makes_a_capture(self, daemon: FakeDaemon, tmp_path: Path) -> None:
        file = tmp_path / "a.pcap"
        unknown = {**REFUSED, "destination": None, "answers": [{**DATAGRAM["answers"][0], "to": "10.71.0.9"}]}
        unknown["answers"][0]["source"] = None
        daemon.answers = [
            {"tracing": True},
            {"datagram": DATAGRAM},
            {"datagram": {**DATAGRAM, "further": True}},
            {"datagram": unknown},
            {"datagram": {**DATAGRAM, "transport": "tcp"}},
        ]
        daemon.error = KeyboardInterrupt()
        assert call("trace", "--write", file).exit_code == 0
        assert daemon.asked[0][1]["payloads"] is True
        read = subprocess.run(
            ["tcpdump", "-tt", "-nn", "-q", "-r", str(file)], capture_output=True, text=True, check=True, timeout=20
        ).stdout
        assert [line.partition(" IP")[2].partition(" ")[2] for line in read.splitlines()] == [
            "fe80::9.40000 > fe80::1.53: UDP, length 3",
            "fe80::1.53 > fe80::9.40000: UDP, length 4",
            "fe80::1.53 > fe80::9.40000: UDP, length 4",
            "10.71.0.9.40000 > 0.0.0.0.53: UDP, length 3",
            "0.0.0.0.53 > 10.71.0.9.40000: UDP, length 4",
        ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.000_05, "50 us"),
        (0.0123, "12.3 ms"),
        (0.9994, "999 ms"),
        (1, "1 s"),
        (61, "1 min 1 s"),
        (3600, "1 h 0 min"),
        (86400 * 3 + 3600 * 5 + 59, "3 d 5 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text

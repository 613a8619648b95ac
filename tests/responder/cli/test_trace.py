"""`responderd trace`: a line a datagram, and a capture."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from responder.cli.trace import trace_line
from responder.errors import NetworkError, ResponderError
from responder.net.folders import control_path

from .support import DATAGRAM, REFUSED, FakeDaemon, call


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
                control_path(),
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
        unasked = {**DATAGRAM, "bytes": None, "outcome": "sent"}
        assert trace_line(unasked).endswith("[fe80::9%2]:40000 < [fe80::1]:53 lan unicast dns: sent, 4 out")
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
            {"datagram": {**DATAGRAM, "transport": "tcp"}},
            {"datagram": {key: value for key, value in DATAGRAM.items() if key != "payload"} | {"bytes": None}},
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
            *("fe80::9.40000 > fe80::1.53: tcp 3", "fe80::1.53 > fe80::9.40000: tcp 4") * 2,
            "fe80::1.53 > fe80::9.40000: UDP, length 4",
        ]
        # Each when it happened: an answer has a time of its own.
        assert [line.partition(" ")[0] for line in read.splitlines()] == [
            *("1700000000.500000", "1700000000.750000", "1700000000.750000"),
            *("1700000000.500000", "1700000000.750000") * 3,
            "1700000000.750000",
        ]

"""`responderd reload`: whether the daemon took its config."""

from __future__ import annotations

from .support import FakeDaemon, call


class TestReload:
    def test_done(self, daemon: FakeDaemon) -> None:
        daemon.answers = [{"reload": []}]
        result = call("reload")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "reloaded\n", "")

    def test_what_only_a_restart_changes_is_named(self, daemon: FakeDaemon) -> None:
        daemon.answers = [{"reload": [], "restart": ["daemon.settle"]}]
        result = call("reload")
        assert (result.exit_code, result.stdout) == (0, "reloaded\n")
        assert result.stderr == "warning: daemon.settle is changed by a restart only\n"

    def test_what_an_instance_is_served_without_is_told(self, daemon: FakeDaemon) -> None:
        errors = [
            {"time": 1.0, "level": "error", "plugin": "dns", "message": "before the reload"},
            {
                "time": 9e9,
                "level": "error",
                "plugin": "dns",
                "message": "served without\nreason=\x1b[2J office.zone:5: A",
            },
            {"time": 9e9, "level": "warning", "plugin": "", "message": "nobody can ask key=plugins.dns.allow"},
            {"time": 9e9, "level": "warning", "plugin": "", "message": "told already key=daemon.settle"},
        ]
        daemon.answers = [{"reload": [], "restart": ["daemon.settle"], "status": {"errors": errors}}]
        result = call("reload")
        assert (result.exit_code, result.stdout) == (0, "reloaded\n")
        assert result.stderr.splitlines() == [
            "warning: daemon.settle is changed by a restart only",
            "error: served without reason=\\x1b[2J office.zone:5: A",
            "warning: nobody can ask key=plugins.dns.allow",
        ]
        assert [request["request"] for _, request in daemon.asked] == ["reload", "status"]

    def test_refused(self, daemon: FakeDaemon) -> None:
        daemon.answers = [{"reload": ["plugins.dns.prot: unknown key", "UDP port 53 is taken"]}]
        result = call("reload")
        assert result.exit_code == 2
        assert result.stderr == "error: plugins.dns.prot: unknown key\nerror: UDP port 53 is taken\n"

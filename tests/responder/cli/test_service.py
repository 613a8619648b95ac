"""`responderd service`, with a service manager made of memory."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from responder.cli import main
from responder.errors import NetworkError
from responder.net import folders
from responder.net.windows import service
from responder.net.windows.service import ServiceInfo


@attrs.define
class FakeControl:
    """A `ServiceControl` of one host."""

    services: dict[str, ServiceInfo] = attrs.field(factory=dict)

    def install(self, name: str, command: str, *, account: str, description: str) -> None:
        if name in self.services:
            raise NetworkError(errno.EEXIST, f"there is a service {name} already")
        assert description
        self.services[name] = ServiceInfo("stopped", 0, 1077, command, account)

    def remove(self, name: str) -> None:
        self.query(name)
        del self.services[name]

    def start(self, name: str) -> None:
        self.services[name] = attrs.evolve(self.query(name), state="running", process=7)

    def stop(self, name: str) -> None:
        self.services[name] = attrs.evolve(self.query(name), state="stopped", process=0, exit_status=0)

    def query(self, name: str) -> ServiceInfo:
        if name not in self.services:
            raise NetworkError(errno.ENOENT, f"there is no service {name}")
        return self.services[name]


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeControl:
    control = FakeControl()
    monkeypatch.setattr(service, "service_control", lambda: control)
    monkeypatch.setattr(folders, "windows_folder", lambda *, for_all_users: tmp_path)
    return control


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "responderd.toml"
    file.write_text("[plugins.echo]\nport = 7007\n")
    return file


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["service", *arguments])
    return result.exit_code, result.output


def test_a_life(control: FakeControl, config: Path) -> None:
    assert run("install", str(config))[0] == 0
    command = control.query("responderd").command
    assert str(config) in command
    assert "serve-as responderd" in command
    assert control.query("responderd").account == "LocalService"
    assert run("status")[1].startswith("service responderd: stopped, never started")
    assert run("start") == (0, "service responderd: running\n")
    assert run("status")[1].startswith("service responderd: running, process 7; runs as LocalService: ")
    assert json.loads(run("status", "--json")[1])["state"] == "running"
    assert run("stop") == (0, "service responderd: stopped\n")
    assert "last exit status 0" in run("status")[1]
    assert run("remove")[0] == 0
    assert not control.services


def test_the_config_is_by_default_where_windows_keeps_programs_data(control: FakeControl, config: Path) -> None:
    assert run("install")[0] == 0
    assert str(config) in control.query("responderd").command


def test_several_have_names(control: FakeControl, config: Path) -> None:
    assert run("install", str(config), "--name", "dns", "--account", "LocalSystem")[0] == 0
    assert control.query("dns").account == "LocalSystem"
    assert run("start", "--name", "dns") == (0, "service dns: running\n")


def test_a_config_that_is_wrong_is_not_installed(control: FakeControl, config: Path) -> None:
    config.write_text("[plugins.echo]\nprot = 7007\n")
    status, output = run("install", str(config))
    assert status == 2
    assert "plugins.echo.prot" in output
    assert not control.services


def test_the_folder_is_prepared_for_what_is_installed_alone(
    control: FakeControl, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An install that is refused must not touch another service's folder; a refused folder leaves no service."""
    prepared: list[str] = []

    def prepare(folder: Path, account: str) -> None:
        if account == "LocalSystem":
            raise NetworkError(errno.EACCES, f"{folder}: belongs to somebody else")
        prepared.append(account)

    monkeypatch.setattr(service, "prepare_folder", prepare)
    assert run("install", str(config))[0] == 0
    status, output = run("install", str(config), "--account", "NetworkService")
    assert (status, "already" in output) == (1, True)
    assert prepared == ["LocalService"]
    status, output = run("install", str(config), "--account", "LocalSystem", "--name", "other")
    assert (status, "somebody else" in output) == (1, True)
    assert list(control.services) == ["responderd"]


@pytest.mark.parametrize("command", ["remove", "start", "stop", "status"])
def test_what_is_not_there_is_named(control: FakeControl, command: str) -> None:
    assert run(command) == (1, "error: there is no service responderd\n")


def test_the_managers_own_command_is_nobodys(control: FakeControl) -> None:
    assert "serve-as" not in run("--help")[1]

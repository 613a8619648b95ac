from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from responder import net
from responder.cli import main
from responder.config import registry
from responder.config.reading import embedded_default
from responder.daemon import daemon
from responder.datagram import Interface, InterfaceAddress
from responder.errors import BindError, ConfigError, ConfigErrors, NetworkError
from responder.net import handover

from ..conftest import Install

ROOT = Path(__file__).parents[3]

PLUGINS = """
    from __future__ import annotations
    import enum
    from ipaddress import IPv4Address
    from pathlib import Path
    from typing import ClassVar
    import attrs
    from responder import ConfigError, Plugin, Service

    class Colour(enum.Enum):
        RED = "red"

    @attrs.frozen
    class Sign(Plugin):
        '''Shows a [bold]sign[/bold] :smile:.

        More.
        '''

        zone: Path
        colour: Colour = Colour.RED
        address: IPv4Address = IPv4Address("192.0.2.1")
        words: dict[str, tuple[int, ...]] = attrs.field(factory=dict)
        services: ClassVar = (Service(port=7007, groups=("ff02::7007",), tcp=True),)

        def prepare(self, context):
            context.read_text(self.zone)
            return self

    @attrs.frozen
    class Two(Plugin):
        '''Serves two ports.'''

        services: ClassVar = (Service(name="search", port=1900), Service(name="events", port=0))

        def prepare(self, context):
            raise KeyError("k")
"""

TABLE = [
    Interface(
        index=2,
        name="eth0 [x] :smile:",
        flags=frozenset({"up", "multicast"}),
        mtu=1500,
        addresses=(InterfaceAddress("192.0.2.7", 24), InterfaceAddress("fe80::1", 64)),
    ),
    Interface(index=1, name="lo", flags=frozenset({"up", "loopback"}), mtu=65536),
]


class Platform:
    async def interfaces(self) -> Sequence[Interface]:
        return TABLE


@pytest.fixture(autouse=True)
def _host(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("alpha", PLUGINS, sign="Sign", two="Two")
    monkeypatch.setattr(net, "platform", Platform)


def call(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_config(text: str) -> Path:
        file = tmp_path / "a.toml"
        file.write_text(text)
        return file

    return write_config


Write = Callable[[str], Path]


@pytest.mark.parametrize("arguments", [["serve"], ["check"], ["run", "a", "b"], ["interfaces", "--jsn"]])
def test_usage_errors_have_status_2(arguments: list[str]) -> None:
    assert call(*arguments).exit_code == 2


def test_version_and_help() -> None:
    assert version("responderd") in call("--version").stdout
    assert {"run", "check", "plugins", "interfaces"} <= set(call("--help").stdout.split())


def test_check_says_ok(write: Write, tmp_path: Path) -> None:
    (tmp_path / "a.zone").touch()
    file = write("[plugins.sign]\nzone = 'a.zone'\ninterfaces = ['guest*', 'lo']\n[plugins.echo]\n")
    result = call("check", file)
    assert result.exit_code == 0
    assert result.stdout == f"{file}: ok: 2 plugins (sign, echo)\n"
    assert result.stderr == "warning: plugins.sign.interfaces[0]: 'guest*' matches no interface now\n"


def test_check_prints_each_mistake_on_a_line(write: Write) -> None:
    file = write("[plugins.sign]\nprot = 7\n[plugins.ecko]\n")
    result = call("check", file)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"error: {file}: plugins.sign.prot: unknown key; did you mean 'port'?",
        f"error: {file}: plugins.sign.zone: missing; expected a file name",
        f"error: {file}: plugins.ecko: no plugin 'ecko' is installed; did you mean 'echo'? "
        f"(installed: {', '.join(registry.installed())})",
    ]


def test_check_asks_every_plugin(write: Write, tmp_path: Path) -> None:
    result = call("check", write("[plugins.sign]\nzone = 'a.zone'\n[plugins.two]\n[plugins.echo]\n"))
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"error: {tmp_path / 'a.zone'}: plugins.sign: can't be read: No such file or directory",
        "error: plugins.two: prepare failed: KeyError: 'k'",
    ]


def test_check_says_where_workers_cannot_be_had(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "why_not_shared", lambda: "not on this system")
    assert call("check", write("[daemon]\nworkers = 1\n[plugins.echo]\n")).exit_code == 0
    result = call("check", write("[daemon]\nworkers = 2\n[plugins.echo]\n"))
    assert (result.exit_code, result.stderr) == (2, "error: daemon.workers: not on this system\n")


def test_check_of_a_missing_file() -> None:
    result = call("check", "missing.toml")
    assert (result.exit_code, result.stderr) == (2, "error: missing.toml: can't be read: No such file or directory\n")


def test_interfaces_as_json_is_json_alone() -> None:
    result = call("interfaces", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [
        {"index": 1, "name": "lo", "flags": ["loopback", "up"], "mtu": 65536, "link_address": "", "addresses": []},
        {
            "index": 2,
            "name": "eth0 [x] :smile:",
            "flags": ["multicast", "up"],
            "mtu": 1500,
            "link_address": "",
            "addresses": [
                {"address": "192.0.2.7", "prefix_length": 24},
                {"address": "fe80::1", "prefix_length": 64},
            ],
        },
    ]


def test_interfaces_as_a_table() -> None:
    result = call("interfaces")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert rows[0] == ["index", "name", "flags", "MTU", "addresses"]
    assert rows[2:] == [
        ["1", "lo", "loopback", "up", "65536"],
        ["2", "eth0", "[x]", ":smile:", "multicast", "up", "1500", "192.0.2.7/24"],
        ["fe80::1/64"],
    ]
    assert "\x1b" not in result.stdout


def test_interfaces_that_the_system_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> Platform:
        raise NetworkError(errno.ENOSYS, "not supported")

    monkeypatch.setattr(net, "platform", refused)
    result = call("interfaces", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "not supported" in result.stderr


def test_plugins_lists_those_that_can_not_be_loaded_too(install: Install) -> None:
    long_reason = "x" * 300
    install("gamma", f"raise RuntimeError('{long_reason}')", broken="X")
    rows = {row["name"]: row for row in json.loads(call("plugins", "--json").stdout)}
    assert list(rows) == sorted(rows)
    assert {"broken", "echo", "sign", "two", "whoami"} <= set(rows)
    assert long_reason in rows["broken"]["error"]
    assert rows["sign"] == {
        "name": "sign",
        "distribution": "alpha",
        "version": "1.2",
        "summary": "Shows a [bold]sign[/bold] :smile:.",
        "services": [
            {
                "name": "default",
                "port": 7007,
                "groups": ["ff02::7007"],
                "hop_limit": None,
                "tcp": True,
                "shared": False,
            }
        ],
        "error": None,
    }
    table = call("plugins").stdout
    assert f"can't be loaded: plugin 'broken' of gamma 1.2 can't be imported: RuntimeError: {long_reason}" in table
    assert "Shows a [bold]sign[/bold] :smile:." in table
    assert "7007/udp+tcp ff02::7007" in table


def test_plugins_of_one_name_tells_options_and_keys() -> None:
    found = json.loads(call("plugins", "sign", "--json").stdout)
    assert found["options"] == [
        {"name": "zone", "type": "file name", "required": True, "default": None},
        {"name": "colour", "type": "'red'", "required": False, "default": "red"},
        {"name": "address", "type": "IPv4 address", "required": False, "default": "192.0.2.1"},
        {"name": "words", "type": "table of arrays of integers", "required": False, "default": {}},
    ]
    keys = {key["name"]: key for key in found["keys"]}
    assert keys["port"] == {"name": "port", "type": "port (0..65535)", "required": False, "default": 7007}
    assert keys["groups"]["default"] == ["ff02::7007"]
    assert "ports" not in keys
    table = call("plugins", "sign").stdout
    assert table.startswith("sign (alpha 1.2): Shows a [bold]sign[/bold] :smile:.\n")
    assert ["zone", "file", "name", "required"] in [line.split() for line in table.splitlines()]
    several = {key["name"] for key in json.loads(call("plugins", "two", "--json").stdout)["keys"]}
    assert "ports" in several
    assert "port" not in several


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_plugins_of_an_unknown_name(arguments: list[str]) -> None:
    result = call("plugins", "sgn", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: no plugin 'sgn' is installed; did you mean 'sign'?")


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
    assert call("run", file).exit_code == status
    assert given == [file]


def test_run_without_a_config_serves_the_embedded_default(monkeypatch: pytest.MonkeyPatch) -> None:
    given = serve(monkeypatch, 0)
    assert call("run").exit_code == 0
    assert given == [None]
    (instance,) = embedded_default().instances
    assert instance.services[0].port == 5300


def test_run_starts_nothing_on_a_bad_config(write: Write) -> None:
    result = call("run", write("[plugins.echo]\nprot = 7\n[plugins.two]\nport = 1\n"))
    assert result.exit_code == 2
    said = result.stderr.splitlines()
    assert len(said) == 3
    assert all(line.startswith("error: ") for line in said)
    assert said[2] == "error: plugins.two: prepare failed: KeyError: 'k'"


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


def test_run_hides_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, RuntimeError("bug"))
    with pytest.raises(RuntimeError, match="bug"):
        CliRunner().invoke(main, ["run"], catch_exceptions=False)


def test_python_m_responder_is_the_command_and_help_imports_little() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = (
        "import runpy, sys\n"
        "sys.argv = ['responderd', '--help']\n"
        "try: runpy.run_module('responder', run_name='__main__', alter_sys=True)\n"
        "except SystemExit: pass\n"
        "heavy = {'cattrs', 'rich', 'structlog', 'dns', 'trio', 'ifaddr', 'responder.daemon.daemon'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.startswith("Usage: responderd ")
    assert done.stdout.splitlines()[-1] == "[]"

from __future__ import annotations

import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from responder.config import reading, registry
from responder.config.daemon_options import DaemonOptions
from responder.config.reading import Config
from responder.errors import ConfigErrors
from responder.plugin import Service

from ..conftest import Install

PLUGINS = """
    from __future__ import annotations
    from pathlib import Path
    from typing import ClassVar
    import attrs
    from responder import Plugin, Service

    @attrs.frozen
    class Sign(Plugin):
        text: str = "hello"
        repeat: bool = False
        zones: dict[str, Path] = attrs.field(factory=dict)
        services: ClassVar = (Service(port=7007),)

        def respond(self, request): return None

    @attrs.frozen
    class Strict(Plugin):
        word: str
        services: ClassVar = (Service(port=7008),)

        def respond(self, request): return None
"""


@pytest.fixture(autouse=True)
def _plugins(install: Install) -> None:
    install("alpha", PLUGINS, sign="Sign", strict="Strict")


def parse(text: str) -> Config:
    return reading.parse(text, file=None, folder=Path("/etc"))


def mistakes(text: str) -> list[str]:
    """Without the lines of keys, which have their own tests."""
    with pytest.raises(ConfigErrors) as caught:
        parse(text)
    return [f"{error.path}: {error.message}" if error.path else str(error) for error in caught.value.errors]


def test_tables_become_instances_in_the_order_of_the_file() -> None:
    found = parse(
        """
        [daemon]
        log = "debug"
        grace = 0
        settle = "500ms"
        [plugins.guests]
        use = "sign"
        port = 53
        interfaces = ["guest*"]
        allow = ["192.0.2.0/24"]
        zones = { "example.test" = "guests.zone" }
        [plugins.another]
        use = "strict"
        word = "w"
        [plugins.sign]
        """
    )
    assert found.daemon == DaemonOptions(log="debug", grace=0.0, settle=0.5)
    guests, another, sign = found.instances
    assert [instance.name for instance in found.instances] == ["guests", "another", "sign"]
    assert guests.services == (Service(port=53),)
    assert guests.interfaces == ("guest*",)
    assert guests.allow == (ip_network("192.0.2.0/24"),)
    assert guests.plugin.zones == {"example.test": Path("/etc/guests.zone")}  # type: ignore[attr-defined] # Sign's
    assert another.plugin.word == "w"  # type: ignore[attr-defined] # Strict's
    assert sign.plugin == type(sign.plugin)()
    assert sign.folder == Path("/etc")


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ("", False),
        ('metrics = "127.0.0.1:9153"', True),
        ('metrics = "[::1]:9153"', True),
        ('metrics = ":9153"', False),
        ('metrics = "192.0.2.1:9153"', False),
        ('metrics = ":9153"\nmetrics_page = true', True),
        ('metrics = "localhost:9153"\nmetrics_page = false', False),
    ],
)
def test_the_page_is_for_this_host_alone_unless_it_is_asked_for(keys: str, shown: bool) -> None:
    assert parse(f"[daemon]\n{keys}\n[plugins.sign]").daemon.shows_page is shown


def test_equal_configs_are_equal() -> None:
    text = "[plugins.sign]\ntext = 'a'\ngroups = ['ff02::7007']\n"
    assert parse(text) == parse(text)
    assert parse(text) != parse(text.replace("'a'", "'b'"))


def test_all_mistakes_of_all_tables_at_once() -> None:
    installed = ", ".join(registry.installed())
    assert mistakes(
        """
        [deamon]
        [daemon]
        log = "warn"
        grace = -1
        [plugins.sign]
        repeat = "false"
        prot = 7
        port = 7.9
        allow = ["192.0.2.0/24", "10.0.0.1/8"]
        zones = { "example.test" = 7 }
        rate = -1
        [plugins.sgn]
        port = true
        [plugins.strict]
        groups = ["ff02::1"]
        listen = ["192.0.2.1"]
        [plugins.other]
        use = "stric"
        [plugins.third]
        use = 7
        [plugins]
        "a b" = {}
        fourth = 4
        """
    ) == [
        "deamon: unknown key; did you mean 'daemon'?",
        "daemon.log: expected 'debug' or 'info' or 'warning' or 'error', got 'warn': did you mean 'warning'?",
        "daemon.grace: expected a duration such as '30s', '1h 30m' or 5 (seconds), got -1: it is negative",
        "plugins.sign.repeat: expected a boolean, got 'false' (a string)",
        "plugins.sign.prot: unknown key; did you mean 'port'?",
        "plugins.sign.port: expected a port (0..65535), got 7.9 (a float)",
        "plugins.sign.allow[1]: expected an IP prefix such as 192.0.2.0/24 or 2001:db8::/32, got '10.0.0.1/8': "
        "it has host bits set",
        'plugins.sign.zones."example.test": expected a file name, got 7 (an integer)',
        "plugins.sign.rate: expected a non-negative number, got -1",
        "plugins.sgn.port: expected a port (0..65535), got true (a boolean)",
        f"plugins.sgn: no plugin 'sgn' is installed; did you mean 'sign'? (installed: {installed})",
        "plugins.strict.listen: not together with groups: a socket bound to an address hears none",
        "plugins.strict.word: missing; expected a string",
        f"plugins.other.use: no plugin 'stric' is installed; did you mean 'strict'? (installed: {installed})",
        "plugins.third.use: expected a string, got 7 (an integer)",
        "plugins.\"a b\": expected a name of letters, digits, '-', '_' and '.'",
        "plugins.fourth: expected a table, got 4 (an integer)",
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "nothing to serve: no [plugins.NAME] table"),
        ("[daemon]\n[plugins]\n", "nothing to serve: no [plugins.NAME] table"),
        ("[plugin.sign]\n", "plugin: unknown key; did you mean 'plugins'?"),
        ("plugins = 3\n", "plugins: expected a table, got 3 (an integer)"),
        ("daemon = 3\n[plugins.sign]\n", "daemon: expected a table, got 3 (an integer)"),
        ("[plugins.sign]\nquiet = 1\n", "plugins.sign.quiet: unknown key; known here: allow, "),
        ("[plugins.'../sign']\nuse = 'sign'", 'plugins."../sign": expected a name of letters'),
        ("[plugins.sign]\nport = \n", "line 2: is not TOML: Invalid value (column 8)"),
        (
            "[plugins.sign]\n[plugins.sign]\n",
            "line 2: is not TOML: Cannot declare ('plugins', 'sign') twice (column 14)",
        ),
        (
            '[plugins.sign]\nzone = "C:\\zones"\n',
            r"line 2: is not TOML: Unescaped '\' in a string (column 13); a path with backslashes stands in '...', as",
        ),
        (
            '[plugins.sign]\nzone = "C:\\Users"\n',
            "line 2: is not TOML: Invalid hex value (column 13); a path with backslashes stands in '...', as",
        ),
        ("[plugins.sign]\n\ntext = '''a", "line 3: is not TOML: Expected \"'''\" (at the end)"),
    ],
)
def test_one_mistake_one_message(text: str, mistake: str) -> None:
    (message,) = mistakes(text)
    assert message.startswith(mistake)


async def test_a_plugin_that_can_not_be_loaded_may_be_left_out(install: Install, tmp_path: Path) -> None:
    install("gamma", "raise RuntimeError('no library')", broken="X")
    file = tmp_path / "a.toml"
    file.write_text("[plugins.broken]\n[plugins.sign]\n")
    with pytest.raises(ConfigErrors, match=r"plugins\.broken: plugin 'broken' of gamma 1\.2 can't be imported"):
        await reading.load_prepared(file)
    loaded, (sign, broken) = await reading.load_prepared(file, may_fail=lambda name: name == "broken")
    assert [each.name for each in loaded.instances] == ["sign"]
    assert sign.failure is None
    assert (broken.instance.name, broken.instance.services) == ("broken", ())
    assert "can't be imported: RuntimeError: no library" in str(broken.failure)


async def test_where_no_plugin_is_left_nothing_is_served(install: Install, tmp_path: Path) -> None:
    install("gamma", "raise RuntimeError('no library')", broken="X")
    file = tmp_path / "a.toml"
    file.write_text("[plugins.broken]\n")
    with pytest.raises(ConfigErrors, match="can't be imported: RuntimeError: no library"):
        await reading.load_prepared(file, may_fail=lambda _name: True)


async def test_one_that_is_not_installed_is_a_mistake_of_the_config(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[plugins.sing]\n[plugins.sign]\n")
    with pytest.raises(ConfigErrors, match=r"no plugin 'sing' is installed; did you mean 'sign'\?"):
        await reading.load_prepared(file, may_fail=lambda _name: True)


def test_a_plugin_that_can_not_be_loaded_is_a_mistake_like_others(install: Install) -> None:
    install("gamma", "raise RuntimeError('no library')", broken="X")
    assert mistakes("[plugins.broken]\nport = 'x'\n[plugins.sign]\ntext = 1\n") == [
        "plugins.broken.port: expected a port (0..65535), got 'x' (a string)",
        "plugins.broken: plugin 'broken' of gamma 1.2 can't be imported: RuntimeError: no library",
        "plugins.sign.text: expected a string, got 1 (an integer)",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, "is nested too deeply: arrays or tables within each other"),
        ("a = " + "[" * 100 + "]" * 100, "is nested too deeply: arrays or tables within each other"),
        (".".join("a" * 20000) + " = 1", "line 1: has a key of more than 128 parts"),
        ("[" + '"a" . ' * 200 + "a]\n", "line 1: has a key of more than 128 parts"),
        ("a = {" + ".".join("b" * 200) + " = 1}", "line 1: has a key of more than 128 parts"),
        ("a = " + "9" * 5000, "has a number of too many digits"),
    ],
)
def test_what_the_parser_can_not_take_is_a_mistake_of_the_file(text: str, reason: str, tmp_path: Path) -> None:
    (message,) = mistakes(text)
    assert message == reason


def test_a_text_with_many_dots_is_no_key() -> None:
    parse(f"[plugins.sign]\ntext = '{'a.' * 127}'\n")


def test_instances_are_bounded() -> None:
    text = "".join(f"[plugins.a{number}]\nuse = 'sign'\n" for number in range(1001))
    assert mistakes(text) == ["plugins: more than 1000 instances"]


def test_a_line_that_is_no_toml_is_not_repeated() -> None:
    (message,) = mistakes("[plugins.sign]\nkey = 'c2VjcmV0\n")
    assert "c2VjcmV0" not in message


def test_a_file_is_read_and_names_in_it_start_from_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    # As an editor on Windows leaves it.
    file.write_bytes("\ufeff[plugins.sign]\r\ntext = 'ä'\r\nzones = { a = 'b.zone' }\r\n".encode())
    (instance,) = reading.load(file).instances
    assert instance.plugin.text == "ä"  # type: ignore[attr-defined] # Sign's
    assert instance.plugin.zones == {"a": tmp_path / "b.zone"}  # type: ignore[attr-defined] # Sign's
    assert instance.folder == tmp_path
    assert reading.load(file).file == file


def test_mistakes_of_a_file_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[plugins.sign]\nprot = 1\n[plugins.strict]\n")
    with pytest.raises(ConfigErrors) as caught:
        reading.load(file)
    assert str(caught.value).splitlines() == [
        f"{file}:2: plugins.sign.prot: unknown key; did you mean 'port'?",
        f"{file}:3: plugins.strict.word: missing; expected a string",
    ]
    file.write_text("[plugins.sign]\nport 7\n")
    with pytest.raises(ConfigErrors, match=f"^{file}:2: is not TOML: Expected '=' after a key"):
        reading.load(file)


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    for file, message in (
        (tmp_path / "missing.toml", "can't be read: No such file or directory"),
        (tmp_path, "can't be read: Is a directory"),
    ):
        with pytest.raises(ConfigErrors) as caught:
            reading.load(file)
        assert str(caught.value) == f"{file}: {message}"
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"[plugins.sign]\n\ntext = '\xe4'\n")
    with pytest.raises(ConfigErrors, match=f"^{latin}:3: is not UTF-8"):
        reading.load(latin)


def test_the_embedded_default_serves_whoami_without_rights() -> None:
    (instance,) = reading.embedded_default().instances
    assert (instance.name, [service.port for service in instance.services]) == ("whoami", [5300])
    assert reading.embedded_default().file is None


def test_only_the_plugins_that_are_used_are_imported(install: Install) -> None:
    install("gamma", "raise RuntimeError", broken="X")
    parse("[plugins.sign]\n")
    assert "gamma_module" not in sys.modules


def test_of_very_many_mistakes_the_first_are_told_and_how_many_more_there_are() -> None:
    unknown = "".join(f"k{number} = 1\n" for number in range(20_000))
    found = mistakes(f"{unknown}[daemon]\n{unknown}[plugins.sign]\n{unknown}port = 0.5\n")
    assert len(found) == 20 + 1 + 20 + 1 + 20 + 1 + 1
    assert found.count("plugins.sign: and 19980 more unknown keys") == 1
    assert found[0].startswith("k0: unknown key")
    assert "plugins.sign.port: expected a port (0..65535), got 0.5 (a float)" in found
    found = mistakes("[plugins.sign]\nallow = [" + "1," * 20_000 + "]\n")
    assert len(found) == reading.MAX_TOLD + 1
    assert found[-1] == "and 19900 more mistakes"


def test_the_installed_plugins_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[None] = []
    installed = registry.installed
    monkeypatch.setattr(registry, "installed", lambda: looked.append(None) or installed())
    parse("".join(f"[plugins.p{number}]\nuse = 'sign'\nport = 0\n" for number in range(5)))
    assert len(looked) == 1

"""What can be written into a configuration, in words; and the examples, which are accepted as they are."""

from __future__ import annotations

import enum
import re
import tomllib
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
import pytest

from responder import Duration, IPAddress, IPNetwork, Size
from responder.config import reading
from responder.config.daemon_options import DaemonOptions
from responder.config.instance import InstanceKeys
from responder.config.reference import as_toml, descriptions, example, keys_of, options_of, tables_of
from responder.config.registry import installed
from responder.config.structuring import structure
from responder.plugin import Plugin, Service

OURS = [name for name, entry in installed().items() if entry.distribution == "responderd"]


class Level(enum.Enum):
    LOW = "low"


@attrs.frozen
class Inner:
    name: str
    file: Path
    size: Size = 1


@attrs.frozen
class Whole(Plugin):
    """Has options of every kind.  It does nothing else.

    must             what must
                     be given
    low, high        two in one line

    inner            after an empty line, with a_word  and two spaces
    not a row  since it has several words
    """

    must: IPAddress
    low: int = 1
    high: int = 2
    inner: tuple[Inner, ...] = ()
    level: Level = Level.LOW
    by_name: dict[str, tuple[Level, ...]] = attrs.field(factory=dict)
    net: IPNetwork | None = None
    wait: Duration = 1.5
    choice: Literal[16, 32] = 16
    secret: str | None = attrs.field(default=None, metadata={"example": "0123"})
    broken: str = attrs.field(factory=lambda: str(1 // 0))
    address: IPv4Address | Level = attrs.field(factory=lambda: IPv4Address("192.0.2.1"))
    flag: bool = False

    services: ClassVar = (
        Service(name="search", port=1900, groups=("ff02::c",), on_link=True, rate=5),
        Service(name="events", port=0, hop_limit=4),
    )


@attrs.frozen
class One(Plugin):
    """Has one service."""

    services: ClassVar = (Service(port=7007, on_link=True, max_answer=512),)


def test_the_description_is_the_docstrings() -> None:
    assert descriptions(Whole) == {
        "must": "what must be given",
        "low": "two in one line",
        "high": "two in one line",
        "inner": "after an empty line, with a_word  and two spaces",
    }


@attrs.frozen
class OnTop(Whole):
    """Builds on another.

    if  a key that is a keyword of Python
    """

    if_: int = 0


def test_what_builds_on_another_describes_what_it_has_of_its_own() -> None:
    assert descriptions(OnTop) == {**descriptions(Whole), "if": "a key that is a keyword of Python"}
    assert [option.name for option in options_of(OnTop)] == [*(option.name for option in options_of(Whole)), "if"]


def test_defaults_are_as_a_file_has_them() -> None:
    found = {option.name: option.default for option in options_of(Whole)}
    assert found == {
        **{"must": None, "low": 1, "high": 2, "inner": [], "level": "low", "by_name": {}, "net": None, "wait": 1.5},
        **{"choice": 16, "secret": None, "broken": "can't be told: ZeroDivisionError", "address": "192.0.2.1"},
        **{"flag": False},
    }


def test_defaults_of_keys_are_those_of_the_services() -> None:
    one = {key.name: key.default for key in keys_of(One)}
    assert "ports" not in one
    assert (one["port"], one["groups"], one["on_link"], one["rate"], one["max_answer"]) == (7007, [], True, 0, 512)
    assert one["max_pending"] == 256
    several = {key.name: key.default for key in keys_of(Whole)}
    assert "port" not in several
    assert several["ports"] == {"search": 1900, "events": 0}
    assert several["groups"] == {"search": ["ff02::c"], "events": []}
    assert several["hop_limit"] == {"events": 4}
    assert several["on_link"] == {"search": True, "events": False}
    assert several["rate"] == {"search": 5, "events": 0}
    assert several["amplification"] == 0


def test_the_service_that_was_given_no_name_has_a_key_of_its_own() -> None:
    @attrs.frozen
    class Both(Plugin):
        services: ClassVar = (Service(port=53), Service(name="tls", port=853))

    found = {key.name: key.default for key in keys_of(Both)}
    assert (found["port"], found["ports"]) == (53, {"tls": 853})


@pytest.mark.parametrize("name", [option.name for option in options_of(Whole)])
def test_an_example_is_of_the_options_type(name: str) -> None:
    (option,) = (option for option in options_of(Whole) if option.name == name)
    table = tomllib.loads(f"must = '::1'\n[value]\n{name} = {as_toml(option.example)}\n")
    options: dict[str, Any] = {"broken": "", "must": table["must"], **table["value"]}
    assert getattr(structure(options, Whole, folder=Path("/")), name) is not None


def test_the_example_of_a_plugin() -> None:
    lines = example("whole", Whole).splitlines()
    assert lines[:3] == ["# Has options of every kind.  It does nothing else.", "[plugins.whole]", ""]
    assert 'must = "192.0.2.1"' in lines
    assert 'secret = "0123"' in lines
    assert "# two in one line (integer)" in lines
    assert '# inner = [{ name = "text", file = "file" }]' not in lines
    assert "# inner = []" in lines
    assert "# ports = { search = 1900, events = 0 }" in lines
    assert "# on_link = true" in lines
    assert (
        "# only peers on the arrival interface's own links (boolean; here true for search, false for events)" in lines
    )
    table = tomllib.loads("\n".join(lines))
    assert table == {"plugins": {"whole": {"must": "192.0.2.1", "secret": "0123"}}}


@pytest.mark.parametrize("name", OURS)
async def test_ours_are_accepted_as_they_are(name: str, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(example(name, installed()[name].load()))
    config, prepared = await reading.load_prepared(file)
    assert [instance.name for instance in config.instances] == [name]
    assert [each.complaints for each in prepared] == [()]


def uncommented(name: str, cls: type[Plugin]) -> dict[str, Any]:
    """The instance with the tables that its example has at its end, and nothing else."""
    tables = [path for path, _ in tables_of(cls)]
    lines: list[str] = []
    path = ""
    for line in example(name, cls).splitlines():
        if title := re.fullmatch(r"# Keys of (\S+), which .*", line):
            path = title[1]
        key = re.fullmatch(r"# (\w+) = .*", line)
        if path and (line.startswith("# [") or (key and f"{path}.{key[1]}" not in tables)):
            lines.append(line.removeprefix("# "))
    instance: dict[str, Any] = tomllib.loads("\n".join(lines)).get("plugins", {}).get(name, {})
    return instance


def first(value: Any) -> Any:
    """The table that is meant, of several by name or in an array."""
    if isinstance(value, list):
        return first(value[0])
    return first(value["name"]) if list(value) == ["name"] else value


@pytest.mark.parametrize("name", OURS)
def test_the_example_of_ours_has_each_key_of_each_table(name: str) -> None:
    cls = installed()[name].load()
    instance = uncommented(name, cls)
    for path, keys in tables_of(cls):
        table = instance
        for step in path.split("."):
            table = first(table[step])
        assert sorted(table) == sorted(key.name for key in keys), path


@pytest.mark.parametrize("name", OURS)
def test_all_options_of_ours_are_described(name: str) -> None:
    assert [option.name for option in options_of(installed()[name].load()) if not option.description] == []


@pytest.mark.parametrize("cls", [InstanceKeys, DaemonOptions])
def test_all_keys_are_described(cls: type[Any]) -> None:
    assert [key.name for key in options_of(cls) if not key.description] == []


@pytest.mark.parametrize("cls", [InstanceKeys, DaemonOptions])
def test_the_examples_of_keys_are_accepted(cls: type[Any]) -> None:
    for key in options_of(cls):
        table = tomllib.loads(f"{key.name} = {as_toml(key.example)}")
        read = structure(table, cls, path="x", folder=Path("/"))
        assert getattr(read, key.name) != getattr(cls(), key.name), key.name


@attrs.frozen
class Tree:
    """Stands within itself.

    name      what it is called
    branches  more of them
    inner     another kind
    """

    name: str
    branches: tuple[Tree, ...] = ()
    inner: dict[str, Inner] | None = None


@attrs.frozen
class Forest(Plugin):
    """Has trees."""

    trees: tuple[Tree, ...] = ()
    address: IPAddress | None = None


def test_the_keys_of_tables_are_told_once_each_by_its_path() -> None:
    told = [(path, [key.name for key in keys]) for path, keys in tables_of(Forest)]
    assert told == [("trees", ["name", "branches", "inner"]), ("trees.inner", ["name", "file", "size"])]
    (_, keys), *_ = tables_of(Forest)
    assert keys[0].required
    assert keys[0].description == "what it is called"


def test_the_example_has_tables_as_the_options_take_them() -> None:
    found = structure(uncommented("forest", Forest), Forest, folder=Path("/"))
    assert found == Forest(trees=(Tree("text", inner={"name": Inner("text", Path("/file"))}),))

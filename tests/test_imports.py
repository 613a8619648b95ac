"""Imports go one way, plugins import only public names, and only `responder.net` knows the platform.

The sources are read (AST), so that imports within functions and those for type checkers count as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import responder

ROOT = Path(__file__).parent.parent
FRAMEWORK = ROOT / "responder"
PLUGINS = ROOT / "plugins" / "responder_plugins"

MODULES = frozenset({"errors", "datagram", "files", "plugin", "progress", "log", "bounded", "threads"})
"""The modules that stand outside of the packages: what everything else is written in.

`files` reads for the contract's `Context` and for `config`: it stands in no package, since `plugin` may import none.
"""

LAYERS: tuple[frozenset[str], ...] = (
    MODULES,
    frozenset({"config", "net"}),  # neither knows the other: see the next test
    frozenset({"dispatch"}),
    frozenset({"server"}),
    frozenset({"daemon"}),
    frozenset({"cli"}),
    # What stands on all of it and is imported by none of it.
    frozenset({"", "__main__", "testing"}),
)
"""The parts of `responder`, "" being its `__init__`; each may import its own layer and those named before it."""

SHARED = "responder_plugins.shared"
"""What several bundled plugins have in common, each of which may import it."""

SOURCES = sorted(FRAMEWORK.rglob("*.py"))
PLUGIN_SOURCES = sorted(PLUGINS.rglob("*.py"))


def module_name(path: Path) -> str:
    """The dotted name of a source file; a package's is that of its `__init__`."""
    parts = path.relative_to(FRAMEWORK.parent if path.is_relative_to(FRAMEWORK) else PLUGINS.parent).with_suffix("")
    return ".".join(parts.parts).removesuffix(".__init__")


def modules() -> frozenset[str]:
    return frozenset(map(module_name, SOURCES + PLUGIN_SOURCES))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """The dotted names that a file imports, with their lines; `from . import net` gives the module `net`."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package.pop()
    known = modules()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{origin}.{alias.name}"
                yield (name if name in known else origin), node.lineno


def part_of(module: str) -> str:
    """`responder.net.types` -> "net"; `responder` -> ""."""
    return module.split(".")[1] if "." in module else ""


def layer_of(part: str) -> int:
    for number, layer in enumerate(LAYERS):
        if part in layer:
            return number
    raise AssertionError(f"responder.{part} stands in no layer: name it in LAYERS, at its place in the order")


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_imports_go_one_way(path: Path) -> None:
    here = part_of(module_name(path))
    wrong = [
        f"line {line}: {name}"
        for name, line in imports(path)
        if name.split(".")[0] == "responder" and part_of(name) != here and layer_of(part_of(name)) > layer_of(here)
    ]
    assert wrong == []
    assert not any(name.split(".")[0] == "responder_plugins" for name, _ in imports(path)), "plugins are entry points"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_config_and_net_do_not_know_each_other(path: Path) -> None:
    others = {"config": "net", "net": "config"}
    other = others.get(part_of(module_name(path)))
    assert [name for name, _ in imports(path) if name.split(".")[0] == "responder" and part_of(name) == other] == []


def test_no_parts_import_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        here = part_of(module_name(path))
        there = {part_of(name) for name, _ in imports(path) if name.split(".")[0] == "responder"}
        graph.setdefault(here, set()).update(there - {here})
    while leaves := {part for part, needs in graph.items() if not needs & graph.keys()}:
        for leaf in leaves:
            del graph[leaf]
    assert graph == {}, "these are on a cycle, or above one"


def test_every_other_module_stands_in_a_package() -> None:
    assert {path.stem for path in FRAMEWORK.glob("*.py")} == {*MODULES, "__init__", "__main__"}


@pytest.mark.parametrize("path", PLUGIN_SOURCES, ids=ids)
def test_plugins_import_only_public_names_their_own_and_what_they_share(path: Path) -> None:
    """Public is what `responder` itself exports: where a name is defined may change, and its neighbours are ours."""
    own = ".".join(module_name(path).split(".")[:2])
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    wrong = [
        f"line {node.lineno}: {alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == "responder" and not node.level
        for alias in node.names
        if alias.name not in responder.__all__
    ]
    wrong += [
        f"line {line}: {name}"
        for name, line in imports(path)
        if name.startswith("responder.")
        or (name.split(".")[0] == "responder_plugins" and not f"{name}.".startswith((f"{own}.", f"{SHARED}.")))
    ]
    assert wrong == []


PLATFORM_MODULES = frozenset({"ctypes", "socket", "fcntl", "msvcrt", "winreg", "cffi", "ifaddr"})


@pytest.mark.parametrize("path", [path for path in SOURCES if "net" not in path.parts] + PLUGIN_SOURCES, ids=ids)
def test_only_net_knows_the_platform(path: Path) -> None:
    wrong = [f"line {line}: {name}" for name, line in imports(path) if name.split(".")[0] in PLATFORM_MODULES]
    wrong += [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and (node.attr == "setsockopt" or ast.unparse(node) in {"sys.platform", "os.name"})
    ]
    assert wrong == []


POSIX_ALONE = frozenset(
    {"crypt", "curses", "fcntl", "grp", "nis", "posix", "pty", "pwd", "readline", "resource", "spwd", "syslog"}
    | {"termios", "tty"}
)
"""Modules of the standard library that Windows lacks."""


def test_every_test_can_be_collected_on_windows() -> None:
    """What a test needs of POSIX alone is imported behind a skip of the whole module, or within a function."""
    found = []
    for path in (ROOT / "tests").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "benchmarks" in path.parts or not any(f"import {name}" in text for name in POSIX_ALONE):
            continue
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.If) and "pytest.skip(" in ast.unparse(statement):
                break
            names = [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else []
            found += [f"{path}:{statement.lineno}" for name in names if name in POSIX_ALONE]
    assert found == []

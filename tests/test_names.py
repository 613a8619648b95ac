"""A class name stands for one class in all of `responder/`, and nothing stands on what trio keeps to itself."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
import trio

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "responder").rglob("*.py"))
PLUGIN_SOURCES = sorted((ROOT / "plugins").rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_a_class_name_stands_for_one_class() -> None:
    places: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{ids(path)}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def attributes_defined(tree: ast.Module) -> Iterator[str]:
    """The private names that a file's classes give their objects: methods, fields, slots, assignments to self."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef():
                for child in node.body:
                    match child:
                        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                            yield name
                        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                            yield name
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=ast.Tuple(elts=elements)):
                yield from (each.value for each in elements if isinstance(each, ast.Constant))


@cache
def private_to_trio() -> frozenset[str]:
    files = Path(trio.__file__).parent.rglob("*.py")
    names = (name for file in files if "_tests" not in file.parts for name in attributes_defined(parsed(file)))
    return frozenset(filter(_is_private, names))


def trios_own(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Where a file reaches for what is private to trio: an import, an attribute, or an attribute's name as a string."""
    own = set(attributes_defined(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found: Iterable[str] = (alias.name for alias in names if alias.name.startswith("trio._"))
            case ast.ImportFrom(module="trio", names=names):
                found = (alias.name for alias in names if _is_private(alias.name))
            case ast.ImportFrom(module=str(module)) if module.startswith("trio._"):
                found = [module]
            case ast.Attribute(value=ast.Name(id="trio"), attr=name) if _is_private(name):
                found = [name]
            case ast.Attribute(attr=name) | ast.Constant(value=str(name)) if name in private_to_trio() - own:
                found = [name]
            case _:
                continue
        yield from ((node.lineno, name) for name in found)


@pytest.mark.parametrize("path", [*SOURCES, *PLUGIN_SOURCES], ids=ids)
def test_nothing_stands_on_what_is_private_to_trio(path: Path) -> None:
    assert list(trios_own(parsed(path))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import trio._core",
        "from trio._core import Task",
        "from trio import _core",
        "trio._core.Task",
        "status = task._cancel_status",
        "getattr(task, '_cancel_status', None)",
        "task._parent_nursery",
    ],
)
def test_the_check_finds(line: str) -> None:
    assert list(trios_own(ast.parse(line)))


@pytest.mark.parametrize(
    "line", ["import trio.lowlevel", "task.parent_nursery", "self._runner = 1\nother._runner", "task._of_our_own"]
)
def test_the_check_leaves_alone(line: str) -> None:
    assert list(trios_own(ast.parse(line))) == []

"""`responder.net` chooses the platform, and imports no other."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import responder.net
from responder.errors import NetworkError
from responder.net import PLATFORMS, platform


def test_this_machine_has_a_platform() -> None:
    assert type(platform()).__name__ == {"linux": "LinuxPlatform", "win32": "WindowsPlatform"}[sys.platform]


def test_only_its_own_module_is_imported() -> None:
    code = "import sys, responder.net; responder.net.platform(); print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    others = {"linux": ("windows", "bsd"), "win32": ("linux", "bsd", "posix")}[sys.platform]
    assert not [name for name in modules if name.startswith(tuple(f"responder.net.{other}" for other in others))]
    # Enumerating is not for every command.
    assert "ifaddr" not in modules


@pytest.mark.parametrize("folder", sorted(set(PLATFORMS.values())))
def test_each_folder_opens_its_platform(folder: str) -> None:
    """Read, not run: the module of another system can't be imported."""
    source = (Path(responder.net.__file__).parent / folder / "platform.py").read_text(encoding="utf-8")
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    assert ast.unparse(functions["open_platform"].args).endswith("inherited: Inherited | None")


def test_an_unknown_system_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(NetworkError, match="plan9: not supported"):
        platform()

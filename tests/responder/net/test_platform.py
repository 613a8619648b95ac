"""`responder.net` chooses the platform, and imports no other."""

from __future__ import annotations

import subprocess
import sys

import pytest

from responder.errors import NetworkError
from responder.net import platform


def test_this_machine_has_a_platform() -> None:
    assert type(platform()).__name__ == {"linux": "LinuxPlatform", "win32": "WindowsPlatform"}[sys.platform]


def test_only_its_own_module_is_imported() -> None:
    code = "import sys, responder.net; responder.net.platform(); print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    others = {"linux": ("windows", "bsd"), "win32": ("linux", "bsd", "posix")}[sys.platform]
    assert not [name for name in modules if name.startswith(tuple(f"responder.net.{other}" for other in others))]
    # Enumerating is not for every command.
    assert "ifaddr" not in modules


def test_an_unknown_system_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(NetworkError, match="plan9: not supported"):
        platform()

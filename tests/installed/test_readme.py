"""The newcomer's path: what the README and the quick start have one type, typed; and what is in the packages."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .readme import QUICK_START, README, blocks, run, section, sessions
from .venv import BOUND, Venv

pytestmark = pytest.mark.index

PLACES = {"README": (README, "Serve a zone"), "quick start": (QUICK_START, "A zone with two views")}


def free_ports() -> Iterator[str]:
    """Ports below those that the system gives away, so that none is taken before it is used; others in each process."""
    for port in range(20_000 + os.getpid() * 10 % 10_000, 32_000):
        try:
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
                socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
            ):
                datagrams.bind(("0.0.0.0", port))
                stream.bind(("0.0.0.0", port))
        except OSError:
            continue
        yield str(port)


PORTS = free_ports()


@contextmanager
def served(venv: Venv, config: str, folder: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [venv.program("responderd"), "run", config],
        cwd=folder,
        env=venv.environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    killer = threading.Timer(BOUND, process.kill)
    killer.start()
    assert process.stderr is not None
    try:
        assert any('"ready"' in line for line in process.stderr), "it ended before it was ready"
        yield
    finally:
        process.terminate()
        process.stderr.read()
        assert process.wait() == 0
        killer.cancel()
        process.stderr.close()


@pytest.mark.clients("dig")
@pytest.mark.parametrize("place", PLACES)
def test_the_zone_with_two_views(venv: Venv, tmp_path: Path, place: str) -> None:
    text = section(*PLACES[place])
    for written in ("5354", "9153"):
        text = text.replace(written, next(PORTS))
    (config,) = blocks(text, "toml")
    (tmp_path / "site.toml").write_text(config, encoding="utf-8")
    for zone in blocks(text, "zone"):
        (tmp_path / "office.zone").write_text(zone, encoding="utf-8")
    before, _, after = text.partition("$ responderd run site.toml &\n")
    assert after
    typed = 0
    for command, printed in sessions(f"{before}```\n"):
        if not command.startswith(". "):  # the environment is on the path
            assert run(command, tmp_path, venv.environment()) == printed, command
    with served(venv, "site.toml", tmp_path):
        for command, printed in sessions(f"```console\n{after}"):
            said = run(command, tmp_path, venv.environment()).replace(str(tmp_path), "/home/me")
            assert said == printed, command
            typed += 1
    assert typed >= 2


@pytest.mark.clients("systemd-analyze")
def test_run_for_real(venv: Venv, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(blocks(section(README, "Serve a zone"), "toml")[0], encoding="utf-8")
    commands = section(README, "Run it for real")
    (change,) = re.findall(r"(sed '[^']+' site\.toml) > /etc/responderd\.toml$", commands, re.MULTILINE)
    config = run(change, tmp_path, venv.environment())
    assert 'control = "/run/responderd/control.sock"' in config
    (tmp_path / "office.zone").write_text("@ 300 SOA ns1 admin 1 3600 600 86400 300\n@ 300 NS ns1.other.test.\n")
    (tmp_path / "guests.zone").write_bytes((tmp_path / "office.zone").read_bytes())
    (tmp_path / "responderd.toml").write_text(config, encoding="utf-8")
    done = venv.run("responderd", "check", tmp_path / "responderd.toml")
    assert (done.returncode, done.stderr) == (0, "")
    (unit,) = re.findall(r"/opt/(responderd)/bin/responderd unit > /etc/systemd/system/(responderd\.service)", commands)
    printed = venv.run(unit[0], "unit")
    (tmp_path / unit[1]).write_text(printed.stdout, encoding="utf-8")
    verified = run(f"systemd-analyze verify {tmp_path / unit[1]}", tmp_path, venv.environment())
    assert [line for line in verified.splitlines() if "responderd" in line] == []


def test_the_man_pages_are_installed(venv: Venv) -> None:
    for page, said in (
        ("man1/responderd.1", r"\-\-log\-level"),
        ("man5/responderd.toml.5", "metrics_names"),
        ("man7/responderd-plugins.7", "friendly_name"),
    ):
        text = (venv.folder / "share" / "man" / page).read_text(encoding="utf-8")
        assert text.startswith(("'\\\"", '.\\"', ".TH"))
        assert said.replace("\\", "") in text.replace("\\", ""), page


def test_the_source_distribution_builds_without_a_compiler(venv: Venv, checkout: Path, tmp_path: Path) -> None:
    venv.pip("install", "hatchling")
    done = venv.run("python", "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path), cwd=checkout)
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    assert {".build/hook.py", "docs/index.md", "README.md", "LICENSE", "Containerfile"} <= names
    assert not [name for name in names if name.endswith(".so") or "generated" in name]
    said = run(
        f"CC=false {venv.program('python')} -m pip wheel -q --no-deps -w {tmp_path} {archive}",
        tmp_path,
        venv.environment(),
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl"), said
    with zipfile.ZipFile(wheel) as packed:
        inside = packed.namelist()
    assert "responder/cli/templates/systemd/responderd.service.template" in inside
    assert {"responder/py.typed", "responder_plugins/py.typed"} <= set(inside)
    assert {"responder/daemon/page/page.css", "responder/daemon/page/page.js"} <= set(inside)
    assert any(name.endswith("share/man/man1/responderd.1") for name in inside)
    assert not [name for name in inside if name.endswith(".so") or name.startswith(("tests/", "docs/"))]

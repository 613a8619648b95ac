"""The Debian package: built from the checkout, unpacked at its place in a mount namespace, and asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from responder import __version__

from .readme import CHECKOUT, copy_checkout
from .venv import Venv

pytestmark = [pytest.mark.index, pytest.mark.lab, pytest.mark.clients("dpkg-buildpackage", "dh", "systemd-analyze")]

BOUND = 900.0

# Nothing of the machine's own /opt and /usr is touched: what is mounted ends with the namespace.
ASK = """
mount -t tmpfs none /opt
cp -a "$1/opt/responderd" /opt/responderd
/opt/responderd/bin/responderd --version
/opt/responderd/bin/responderd check "$2"
systemd-analyze verify "$1"/lib/systemd/system/responderd.service "$1"/usr/lib/systemd/system/responderd.service 2>&1 \
    | grep responderd.service: | grep -v 'No such file' || true
"""


def test_the_package_is_built_and_runs_at_its_place(tmp_path: Path) -> None:
    checkout = tmp_path / "responderd"
    copy_checkout(checkout)
    environment = {**Venv.without_ours(os.environ), "PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}
    built = subprocess.run(
        ["dpkg-buildpackage", "-b", "-d", "-us", "-uc"],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=BOUND,
    )
    assert built.returncode == 0, built.stdout
    (package,) = tmp_path.glob("responderd_*.deb")
    root = tmp_path / "root"
    subprocess.run(["dpkg-deb", "-x", package, root], check=True, timeout=BOUND)
    assert (root / "usr" / "bin" / "responderd").readlink() == Path("/opt/responderd/bin/responderd")
    assert [*root.glob("usr/share/man/man1/responderd.1*")]
    assert "net.core.wmem_max = " in (root / "usr/lib/sysctl.d/10-responderd.conf").read_text(encoding="utf-8")
    (unit,) = {path.resolve() for path in root.glob("**/system/responderd.service")}
    assert "ExecStart=/opt/responderd/bin/responderd run /etc/responderd.toml\n" in unit.read_text(encoding="utf-8")
    asked = subprocess.run(
        [
            "unshare",
            "--mount",
            "bash",
            "-euo",
            "pipefail",
            "-c",
            ASK,
            "ask",
            root,
            CHECKOUT / "examples/container.toml",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND,
    )
    assert asked.returncode == 0, asked.stderr
    version, checked, *complaints = asked.stdout.splitlines()
    assert version.endswith(f"version {__version__}")
    assert checked.endswith("ok: 1 plugin (whoami)")
    assert complaints == []

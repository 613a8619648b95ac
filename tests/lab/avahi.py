"""Avahi in a namespace of the lab: a daemon and a bus of its own, and its clients."""

from __future__ import annotations

from pathlib import Path

from .bus import OnABus
from .namespaces import Namespace

CONFIG = """[server]
host-name={host}
use-ipv4=yes
use-ipv6=yes
[wide-area]
enable-wide-area=no
[publish]
publish-workstation=no
publish-hinfo=no
"""

NAMES = ("avahi-daemon", "avahi-browse", "avahi-resolve", "dbus-daemon")
"""The programs, for the marker `clients`."""


def avahi(namespace: Namespace, folder: Path, *, host: str) -> OnABus:
    """An Avahi that calls its host so, and publishes nothing else."""
    folder.mkdir(exist_ok=True)
    (folder / "services").mkdir()
    (folder / "avahi.conf").write_text(CONFIG.format(host=host))
    script = (
        "mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && "
        f"mount --bind {folder / 'services'} /etc/avahi/services && "
        f"exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {folder / 'avahi.conf'}"
    )
    return OnABus(namespace, folder, script, lambda service: "startup complete" in service.log)

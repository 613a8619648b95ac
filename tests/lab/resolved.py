"""systemd-resolved in a namespace of the lab, with mDNS or LLMNR switched on, and its client `resolvectl`.

Debian's package makes itself the machine's resolver, so it is not among what CI installs: these tests run where it is
there, or where PATH has a folder with its programs (`dpkg -x systemd-resolved_*.deb somewhere`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

from .bus import OnABus
from .namespaces import Namespace

PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/lib/systemd", "/lib/systemd"])
DAEMON = shutil.which("systemd-resolved", path=PLACES)
CLIENT = shutil.which("resolvectl")

CONFIG = "[Resolve]\nMulticastDNS={mdns}\nLLMNR={llmnr}\nDNSStubListener=no\nDNS=\nFallbackDNS=\n"
USER = "systemd-resolve"
NUMBER = 64996
"""Of that user, where the machine has none."""


def resolved(namespace: Namespace, folder: Path, *links: str, protocol: Literal["mdns", "llmnr"] = "mdns") -> OnABus:
    """systemd-resolved that speaks one protocol on those links."""
    import pwd  # noqa: PLC0415 - Windows has none, where tests that are skipped are collected all the same

    folder.mkdir(exist_ok=True)
    for above in (folder, *folder.parents[:3]):  # it gives up root
        above.chmod(above.stat().st_mode | 0o055)
    (folder / "etc").mkdir()
    (folder / "etc" / "resolved.conf").write_text(CONFIG.format(**{"mdns": "no", "llmnr": "no", protocol: "yes"}))
    has_user = any(entry.pw_name == USER for entry in pwd.getpwall())
    more = {"passwd": f"{USER}:x:{NUMBER}:{NUMBER}::/:/usr/sbin/nologin\n", "group": f"{USER}:x:{NUMBER}:\n"}
    for name, line in more.items():
        (folder / name).write_text(Path("/etc", name).read_text() + ("" if has_user else line))
    script = (
        "mount -t tmpfs none /run/systemd && mkdir /run/systemd/resolve && "
        f"mount --bind {folder / 'etc'} /etc/systemd && "
        f"mount --bind {folder / 'passwd'} /etc/passwd && mount --bind {folder / 'group'} /etc/group && "
        f"chown {USER}:{USER} /run/systemd/resolve && exec {DAEMON}"
    )

    def is_ready(service: OnABus) -> bool:
        return all(not service.run(CLIENT or "", protocol, link, "yes") for link in links)

    return OnABus(namespace, folder, script, is_ready)

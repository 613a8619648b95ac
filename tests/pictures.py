"""Makes the pictures of the README and the manual: a host with two links, at work, seen by the page and by `top`.

    python -m tests.pictures        (Linux, root, Chromium; a minute)

What is seen is the real daemon on links of its own, with clients that ask it.  Writes docs/pictures/page.png and
docs/pictures/top.svg, which name nothing of the machine that made them.
"""

from __future__ import annotations

import io
import math
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import trio
from rich.console import Console

from responder.cli.top import Watch
from responder.cli.top_view import view

from .browser import chromium
from .lab.daemon import daemon
from .lab.namespaces import Lab, Namespace

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"

SECONDS = 45
WIDTH = 100

CONFIG = """
[daemon]
control = "site.sock"
metrics = "127.0.0.1:9153"
[plugins.guests]
use = "dns"
port = 53
interfaces = ["guest*"]
zones = { "example.test" = "guests.zone" }
[plugins.office]
use = "dns"
port = 53
zones = { "example.test" = "office.zone" }
[plugins.sntp]
trust = "always"
[plugins.mdns]
host = "gateway"
"""

ZONE = """@ 300 SOA ns1 admin 1 3600 600 86400 300
@ 300 NS ns1
ns1 300 A 192.0.2.1
www 300 A {www}
mail 300 A 192.0.2.25
"""

UNDER = ("unshare", "--uts", "sh", "-c", 'echo gateway >/proc/sys/kernel/hostname && exec "$@"', "sh")
"""Before a command line: on a host of that name."""

NAMES = ("www", "www", "www", "mail", "ns1", "nowhere")
SNTP = bytes([0x23]) + bytes(47)


class Asking(threading.Thread):
    """Sends these payloads in turn, about so many a second, and reads what comes back."""

    def __init__(self, client: Namespace, to: str, port: int, payloads: list[bytes], rate: float) -> None:
        super().__init__(daemon=True)
        self._socket = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((to, port))
        self._socket.setblocking(False)
        self._payloads, self._pause = payloads, 1 / rate
        self.done = threading.Event()

    def run(self) -> None:
        due, number = time.monotonic(), 0
        while not self.done.wait(max(0.0, due - time.monotonic())):
            self._socket.send(self._payloads[number % len(self._payloads)])
            # As at any place where people work, it is now more and now less.
            due, number = due + self._pause / (1 + 0.4 * math.sin(due / 3 + self._pause * 1e4)), number + 1
            try:
                while True:
                    self._socket.recv(2000)
            except BlockingIOError:
                pass
        self._socket.close()


def questions() -> list[bytes]:
    return [dns.message.make_query(f"{name}.example.test", "A").to_wire() for name in NAMES]


@contextmanager
def asked(office: Namespace, guest: Namespace) -> Iterator[None]:
    several = [
        Asking(office, "10.71.0.1", 53, questions(), 400),
        Asking(office, "10.71.0.1", 123, [SNTP], 20),
        Asking(guest, "10.72.0.1", 53, [*questions(), b"no DNS at all"], 150),
        Asking(guest, "10.72.0.1", 123, [SNTP, b"?"], 5),
    ]
    for each in several:
        each.start()
    try:
        yield
    finally:
        for each in several:
            each.done.set()
            each.join()


def take_top(watch: Watch, file: Path) -> None:
    console = Console(
        width=WIDTH, record=True, file=io.StringIO(), force_terminal=True, markup=False, emoji=False, highlight=False
    )
    assert watch.status is not None
    console.print(view(watch.status, watch.rates, width=WIDTH, height=40))
    svg = console.export_svg(title="responderd top --config site.toml")
    # Its fonts would be fetched from elsewhere; any of one width will do.
    file.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with Lab() as lab, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        host, office, guest = (lab.namespace(name) for name in ("host", "office", "guest"))
        lab.link(host, "lan", office, "eth0")
        lab.link(host, "guest", guest, "eth0")
        host.ip("addr add 10.71.0.1/24 dev lan", "addr add fd71::1/64 dev lan", "addr add 10.72.0.1/24 dev guest")
        office.ip("addr add 10.71.0.9/24 dev eth0")
        guest.ip("addr add 10.72.0.9/24 dev eth0")
        (folder / "site.toml").write_text(CONFIG)
        (folder / "office.zone").write_text(ZONE.format(www="192.0.2.80"))
        (folder / "guests.zone").write_text(ZONE.format(www="198.51.100.80"))
        with daemon(host, Path("site.toml"), folder=folder, under=UNDER) as child, asked(office, guest):
            watch = Watch(folder / "site.sock")
            for _ in range(SECONDS):
                watch.look()
                host.run("curl", "-s", "-o", str(folder / "live"), "http://127.0.0.1:9153/live.json")
                time.sleep(1)
            take_top(watch, PICTURES / "top.svg")
            url = "http://127.0.0.1:9153/"
            taken = (folder / "profile", url, PICTURES / "page.png", "--force-device-scale-factor=1")

            async def take_page() -> None:
                await chromium.picture(*taken, size=(1180, 1120), under=host.argv())

            trio.run(take_page)
        shutil.rmtree(folder / "profile", ignore_errors=True)
        if child.status:
            raise SystemExit("\n".join(child.said))


if __name__ == "__main__":
    main()

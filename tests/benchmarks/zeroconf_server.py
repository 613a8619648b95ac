"""python-zeroconf with services, as a program for the side-by-side: `python zeroconf_server.py COUNT ADDRESS...`.

Says {"event": "ready"} on stderr and serves until it is ended.
"""

from __future__ import annotations

import signal
import sys
import threading
from ipaddress import ip_address

from zeroconf import IPVersion, ServiceInfo, Zeroconf

TYPE = "_http._tcp.local."


def main(count: int, addresses: list[str]) -> None:
    """Register the services on every interface that it finds."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    with Zeroconf(ip_version=IPVersion.All) as zc:
        for number in range(count):
            zc.register_service(
                ServiceInfo(
                    TYPE,
                    f"Page {number}.{TYPE}",
                    port=8000 + number,
                    properties={"path": f"/{number}"},
                    server="lab.local.",
                    addresses=[ip_address(address).packed for address in addresses],
                )
            )
        print('{"event": "ready"}', file=sys.stderr, flush=True)
        over.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

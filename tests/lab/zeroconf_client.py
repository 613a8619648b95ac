"""python-zeroconf in a namespace of the lab: `python zeroconf_client.py HOST INSTANCE`; prints what it finds as JSON.

It is run as a script, so that it neither shares a process with the tests nor needs their packages.
"""

from __future__ import annotations

import json
import sys
import time

from zeroconf import ServiceBrowser, ServiceInfo, Zeroconf

SECONDS = 10.0


def main(host: str, instance: str) -> None:
    """Browse until the instance is there, then ask for it and for its host."""
    found: list[str] = []

    class Listener:
        def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            found.append(name)

        def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            pass

        def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            pass

    type_ = instance.partition(".")[2]
    with Zeroconf() as zc:
        ServiceBrowser(zc, type_, Listener())
        end = time.monotonic() + SECONDS
        while instance not in found and time.monotonic() < end:
            time.sleep(0.05)
        info = ServiceInfo(type_, instance)
        info.request(zc, 3000)
        print(
            json.dumps(
                {
                    "found": found,
                    "server": info.server,
                    "port": info.port,
                    "txt": {key.decode(): value and value.decode() for key, value in info.properties.items()},
                    "addresses": [address.partition("%")[0] for address in info.parsed_addresses()],
                    "host": host,
                }
            )
        )


if __name__ == "__main__":
    main(*sys.argv[1:])

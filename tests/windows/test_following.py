"""The daemon on a Windows whose network changes: IPv4 is seen by the signal, IPv6 (under Wine) by the re-scan.

SIO_ADDRESS_LIST_CHANGE does fire: where it is to be shown, the re-scan never comes.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.changing import GROUPS, Client, config, joined
from tests.lab.daemon import Child
from tests.lab.namespaces import Lab, Namespace

from .wine import WindowsPython

pytestmark = [pytest.mark.windows, pytest.mark.lab]

NEVER, SOON = 1e6, 0.2  # seconds

RUN = textwrap.dedent("""
    import json, sys
    from responder.server import interfaces as following
    from responder.cli import main
    from responder.net.windows.udp import WindowsSocket

    def telling(name):
        method = getattr(WindowsSocket, name)
        def call(self, membership, interface):
            method(self, membership, interface)
            told = {"event": name, "group": str(membership.group), "interface": membership.interface}
            print(json.dumps(told), file=sys.stderr, flush=True)
        setattr(WindowsSocket, name, call)

    telling("join")
    telling("leave")
    following.RESCAN_INTERVAL = float(sys.argv[1])
    main(["run", sys.argv[2]])
    """)
"""The daemon, which tells of each membership when the system has taken it.

Linux itself doesn't: it keeps an interface's entry in /proc/net/igmp where the address by which a socket had joined was
gone before the socket left, since it no longer finds the interface.
"""


@contextlib.contextmanager
def following(windows: WindowsPython, rescan: float, folder: Path) -> Iterator[tuple[Namespace, Child, Client]]:
    """A host with a Windows daemon that re-scans every `rescan` seconds, and a client, with a bare link `wire`."""
    (folder / "echo.toml").write_text(config())
    with Lab() as lab, contextlib.ExitStack() as stack:
        host, client = lab.namespace("host"), lab.namespace("client")
        lab.link(host, "stays", client, "stays")
        lab.link(host, "wire", client, "wire")
        host.ip("addr add 10.71.0.1/24 dev stays")
        client.ip("addr add 10.80.0.9/24 dev wire", "addr add fe80::9/64 dev wire nodad")
        machine = stack.enter_context(windows.machine(host))
        child = stack.enter_context(machine.child(("-c", RUN, str(rescan), "echo.toml"), cwd=folder))
        yield host, child, stack.enter_context(Client(client))
        assert child.stop() == 0, "\n".join(child.said)


@pytest.mark.parametrize(
    ("group", "rescan", "addresses"),
    [
        (GROUPS[0], NEVER, ("10.80.0.1/24", "10.80.0.2/24")),
        (GROUPS[1], SOON, ("fe80::1/64", "fe80::2/64")),
    ],
    ids=["IPv4 by the signal", "IPv6 by the re-scan"],
)
def test_an_address_is_followed(
    windows: WindowsPython, tmp_path: Path, group: str, rescan: float, addresses: tuple[str, str]
) -> None:
    nodad = "nodad" if ":" in group else ""
    with following(windows, rescan, tmp_path) as (host, child, client):
        expected = {"group": group, "interface": host.ifindex("wire")}
        for address in addresses:  # twice: the signal is armed again
            host.ip(f"addr add {address} dev wire {nodad}")
            assert child.wait_for("join").items() >= expected.items()
            assert group in joined(host)["wire"]
            assert client.ask(group, "wire")[0] == address.partition("/")[0]
            host.ip(f"addr del {address} dev wire")
            assert child.wait_for("leave").items() >= expected.items()

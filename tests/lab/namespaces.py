"""Network namespaces with veth links between them, made by a test and removed with it.  Root and Linux only.

    with Lab() as lab:
        host, client = lab.namespace("host"), lab.namespace("client")
        lab.link(host, "link1", client, "link1")
        host.ip("addr add 10.71.0.1/24 dev link1")
        with client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock: ...

Names carry the process id: runs side by side don't meet, and what a killed run left behind is removed by the next.
Nothing here touches the network of the machine itself.
"""

from __future__ import annotations

import ctypes
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

NAMES = re.compile(r"rl([0-9]+)-")
"""A lab's namespaces: rl, the process id of the test run, the name within it."""

CLONE_NEWNET = 0x40000000  # os.CLONE_NEWNET and os.setns from Python 3.12 on

QUIET = {
    # No duplicate address detection: an address is usable at once (RFC 4862 section 5.4 would make tests wait).
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    # No reverse path filter: the tests ask one link's address through another.
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    # A ping to a group or a broadcast address, and as many ICMP errors as a test causes.
    "net.ipv4.icmp_ratelimit": "0",
    "net.ipv6.icmp.ratelimit": "0",
}


def _run(*argv: str, stdin: str | None = None) -> str:
    """A program's output.  Raises RuntimeError with what it said where it failed."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


ROUTES_WITHIN = 10.0
"""Seconds."""

_RTF_LOCAL = 0x80000000
_SIOCGIFFLAGS = 0x8913
_UP_AND_RUNNING = 0x41
_UNUSABLE = 0x48
"""Of an address: tentative, or found to be somebody else's."""


def _without_routes() -> list[str]:
    """The usable IPv6 addresses of this thread's namespace, on working interfaces, that have no local route yet."""
    import fcntl  # noqa: PLC0415 - this module is imported on Windows too, where nothing of it runs

    net = Path("/proc/thread-self/net")
    if not (net / "if_inet6").exists():
        return []
    routes = (line.split() for line in (net / "ipv6_route").read_text().splitlines())
    # An address with a prefix of 128 bits has another route of the same destination at once.
    local = {route[0] for route in routes if int(route[8], 16) & _RTF_LOCAL}
    missing = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for line in (net / "if_inet6").read_text().splitlines():
            address, _, _, _, flags, name = line.split()
            told = fcntl.ioctl(sock, _SIOCGIFFLAGS, name.encode().ljust(40, b"\0"))
            works = int.from_bytes(told[16:18], sys.byteorder) & _UP_AND_RUNNING == _UP_AND_RUNNING
            if works and not int(flags, 16) & _UNUSABLE and address not in local:
                missing.append(f"{address} on {name}")
    return missing


class Namespace:
    """One network namespace: a machine of the lab."""

    def __init__(self, name: str) -> None:
        self.name = name
        _run("ip", "netns", "add", name)
        try:
            for key, value in QUIET.items():
                self.sysctl(key, value)
            self.ip("link set lo up")
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        _run("ip", "netns", "del", self.name)

    def ip(self, *commands: str) -> None:
        """Commands of ip(8), without the leading `ip`, all in one process.

        Returns once what is sent to this host's IPv6 addresses arrives: the kernel adds their routes a moment after the
        addresses, in a task of its own (addrconf_dad_work).
        """
        _run("ip", "-n", self.name, "-batch", "-", stdin="\n".join(commands) + "\n")
        if any("addr add" in command or command.endswith(" up") for command in commands):
            give_up = time.monotonic() + ROUTES_WITHIN
            while missing := self.call(_without_routes):
                if time.monotonic() > give_up:
                    raise RuntimeError(f"{self.name}: no local routes for {', '.join(missing)}")
                os.sched_yield()

    def run(self, *argv: str) -> str:
        """Run a program here and return what it prints.  Raises RuntimeError where it fails."""
        return _run(*self.argv(*argv))

    def argv(self, *argv: str) -> list[str]:
        """The command line that runs a program here; the process becomes that program, so signals reach it."""
        return ["ip", "netns", "exec", self.name, *argv]

    def sysctl(self, key: str, value: str) -> None:
        path = Path("/proc/sys", *key.split("."))
        self.call(lambda: path.write_text(value))

    def socket(self, *args: Any) -> socket.socket:
        """A `socket.socket(*args)` of this namespace: where it is made is where it stays, whoever uses it."""
        return self.call(lambda: socket.socket(*args))

    def ifindex(self, interface: str) -> int:
        return self.call(lambda: socket.if_nametoindex(interface))

    def call(self, function: Callable[[], T]) -> T:
        """The result of a function called in a thread that is in this namespace, and ends with the call."""
        results: list[T] = []
        errors: list[BaseException] = []

        def enter_and_call() -> None:
            try:
                with open(f"/run/netns/{self.name}", "rb") as handle:
                    libc = ctypes.CDLL(None, use_errno=True)
                    if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
                        errno = ctypes.get_errno()
                        raise OSError(errno, f"setns {self.name}: {os.strerror(errno)}")  # noqa: TRY301 - for the caller
                results.append(function())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=enter_and_call, name=f"in {self.name}")
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]


class Lab:
    """All namespaces of a test; leaving the context removes them."""

    def __init__(self) -> None:
        self.namespaces: list[Namespace] = []

    def __enter__(self) -> Self:
        remove_leftovers()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while self.namespaces:
            self.namespaces.pop().remove()

    def namespace(self, name: str) -> Namespace:
        number = next(_numbers)
        namespace = Namespace(f"rl{os.getpid()}-{number}-{name}")
        self.namespaces.append(namespace)
        return namespace

    def link(self, one: Namespace, one_name: str, other: Namespace, other_name: str) -> None:
        """A veth pair, up on both ends, without the link-local addresses that the kernel would make up."""
        one.ip(f"link add {one_name} type veth peer name {other_name} netns {other.name}")
        for namespace, name in ((one, one_name), (other, other_name)):
            namespace.ip(f"link set {name} addrgenmode none", f"link set {name} up")


_numbers = iter(range(1, 1_000_000))


def remove_leftovers() -> None:
    """Remove the namespaces of test runs that are no more."""
    for line in _run("ip", "netns", "list").splitlines():
        name = line.split()[0]
        found = NAMES.match(name)
        if found and not Path("/proc", found[1]).exists():
            # Another run may be removing it at this very moment.
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, timeout=60)

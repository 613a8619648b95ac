"""Becoming another user, in processes of their own: each tries afterwards what it may no longer do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from responder.errors import ConfigError
from responder.net.privileges import become

ROOT = Path(__file__).parents[3]

ORDINARY = "nobody"
"""A user that every Unix has."""

UNPRIVILEGED = """
    # All now: an interpreter in root's home can't be read from later.
    import errno, os, pwd, socket, threading
    import responder.net.posix.privileges
    from responder.errors import NetworkError
    from responder.net.privileges import become

    account = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
"""
"""Makes the process one that an ordinary user has started."""

WITH_A_CAPABILITY = (
    """
    import ctypes

    libc = ctypes.CDLL(None)
    PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE = 8, 47, 2, 10

    def prctl(*arguments):
        assert libc.prctl(*map(ctypes.c_ulong, arguments)) == 0

    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    """,
    UNPRIVILEGED,
    """
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    one = 1 << CAP_NET_BIND_SERVICE
    assert libc.capset(header, (ctypes.c_uint32 * 6)(one, one, one)) == 0
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0)
    """,
)
"""... one that a service manager has given a capability beside (systemd: User=, AmbientCapabilities=)."""


def run(*program: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program, given in one part or several."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", "".join(map(dedent, program))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is nobody to become on Windows")
class TestWhoCanBeBecome:
    @pytest.mark.parametrize("user", ["no-such-user", "", "no\0body"])
    def test_a_user_that_is_not_there(self, user: str) -> None:
        with pytest.raises(ConfigError, match=r"^daemon\.user: this host has no user '"):
            become(user)

    def test_root_is_not_less(self) -> None:
        with pytest.raises(ConfigError, match=r"^daemon\.user: root has all privileges"):
            become("root")


@pytest.mark.skipif(sys.platform != "win32", reason="Windows only")
def test_windows_has_no_user_to_become() -> None:
    with pytest.raises(ConfigError, match=r"^daemon\.user: Windows services run as the account"):
        become(ORDINARY)


@pytest.mark.lab
class TestOnLinux:
    def test_no_right_is_left_and_no_way_back(self) -> None:
        done = run("""
            import os, pwd, socket
            from responder.net.privileges import become

            account = pwd.getpwnam("nobody")
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.bind(("127.0.0.1", 0))
            become("nobody")
            print(os.getresuid() == (account.pw_uid,) * 3, os.getresgid() == (account.pw_gid,) * 3)
            print(sorted(os.getgroups()) == sorted(os.getgrouplist("nobody", account.pw_gid)))

            def refused(action):
                try:
                    action()
                except PermissionError:
                    return "refused"
                return "allowed"

            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as low:
                # Port 1 of loopback: root could, unless net.ipv4.ip_unprivileged_port_start is 0 or 1.
                print(refused(lambda: low.bind(("127.0.0.1", 1))))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forcing:
                SO_RCVBUFFORCE = 33  # it takes CAP_NET_ADMIN
                print(refused(lambda: forcing.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4096)))
            print(refused(lambda: os.setuid(0)), refused(lambda: os.setgid(0)), refused(lambda: os.setgroups([0])))
            print(refused(lambda: open("/etc/shadow")))
            opened.sendto(b"still works", opened.getsockname())
            print(opened.recv(100).decode())
            opened.close()
        """)
        assert done.stderr == ""
        assert done.stdout.splitlines() == [
            "True True",
            "True",
            "refused",
            "refused",
            "refused refused refused",
            "refused",
            "still works",
        ]

    def test_every_capability_set_is_empty_also_for_programs(self) -> None:
        done = run("""
            import subprocess
            from responder.net.privileges import become

            become("nobody")
            subprocess.run(["grep", "-E", "^(Cap|NoNewPrivs|Groups)", "/proc/self/status"])
        """)
        assert done.stderr == ""
        sets = dict(re.findall(r"^(Cap\w+|NoNewPrivs):\s*(\w+)$", done.stdout, re.MULTILINE))
        assert sets.pop("NoNewPrivs") == "1"
        assert {name: int(value, 16) for name, value in sets.items()} == dict.fromkeys(
            ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"], 0
        )

    def test_threads_that_run_already_lose_their_rights_too(self) -> None:
        done = run("""
            import os, threading, trio
            from pathlib import Path
            from responder.net.privileges import become

            def rights():
                thread = threading.get_native_id()
                status = Path(f"/proc/self/task/{thread}/status").read_text()
                effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
                return thread, os.getuid(), int(effective, 16)

            async def main():
                before = await trio.to_thread.run_sync(rights)
                become("nobody")
                after = await trio.to_thread.run_sync(rights)
                print(after[0] == before[0] != os.getpid())  # trio keeps a thread for a while
                print(before[1] == 0, after[1] == os.getuid() != 0)
                print(before[2] != 0, after[2] == 0)

            trio.run(main)
        """)
        assert done.stderr == ""
        assert done.stdout.split() == ["True"] * 5

    def test_who_is_that_user_already_loses_the_capabilities_it_was_given(self) -> None:
        done = run(
            *WITH_A_CAPABILITY,
            """
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as allowed, socket.socket() as refused:
                allowed.bind(("127.0.0.1", 1))
                become("nobody")
                try:
                    refused.bind(("127.0.0.1", 1))
                except PermissionError:
                    print("refused")
            """,
        )
        assert (done.stderr, done.stdout) == ("", "refused\n")

    def test_a_thread_that_keeps_a_capability_is_an_error(self) -> None:
        done = run(
            *WITH_A_CAPABILITY,
            """
            done = threading.Event()
            thread = threading.Thread(target=done.wait)
            thread.start()
            try:
                become("nobody")
            except NetworkError as error:
                print(error.strerror)
            done.set()
            thread.join()
            """,
        )
        assert done.stderr == ""
        assert done.stdout.startswith("can't become user nobody: threads that run already keep capabilities")

    def test_without_the_right_to_it_the_system_s_refusal_is_told(self) -> None:
        done = run(
            UNPRIVILEGED,
            """
            try:
                become("daemon")
            except NetworkError as error:
                print(error.errno == errno.EPERM, error.strerror)
            """,
        )
        assert done.stderr == ""
        assert done.stdout == "True can't become user daemon: Operation not permitted\n"

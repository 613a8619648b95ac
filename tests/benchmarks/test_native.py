"""The load generator checks what it counts: wrong bytes, a wrong source and silence are no answers.

Short loads over loopback against a server in a thread; how many answers come, and how fast, is not asserted.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux" or not (shutil.which("gcc") or shutil.which("cc")):
    pytest.skip("needs Linux and a C compiler", allow_module_level=True)

from .running import compiled

Address = tuple[str, int]
Answering = Callable[[socket.socket, bytes, Address], object]


@contextmanager
def server(answer: Answering) -> Iterator[int]:
    """The port of a server on all of 127.0.0.0/8 that answers so; an empty datagram ends it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        port: int = sock.getsockname()[1]

        def serve() -> None:
            while True:
                payload, peer = sock.recvfrom(2048)
                if not payload:
                    return
                answer(sock, payload, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                while thread.is_alive():  # the queue may be full of what the load sent last
                    end.sendto(b"", ("127.0.0.1", port))
                    thread.join(0.05)


def load(
    program: Path, port: int, *addresses: str, seconds: float = 0.2, rate: int = 0, says: str = "64"
) -> dict[str, Any]:
    argv = [str(program), *map(str, (port, seconds, 0, rate, 2, 4, says)), *addresses]
    said: dict[str, Any] = json.loads(subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout)
    return said


def echo(sock: socket.socket, payload: bytes, peer: Address) -> None:
    sock.sendto(payload, peer)


def spoil(sock: socket.socket, payload: bytes, peer: Address) -> None:
    sock.sendto(payload[:-1] + bytes([payload[-1] ^ 1]), peer)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("load", tmp_path_factory.mktemp("native"))


def test_echoes_are_answers(program: Path) -> None:
    with server(echo) as port:
        said = load(program, port, "127.0.0.1")
    assert said["answers"] > 0
    assert said["wrong"] == 0


@pytest.mark.parametrize(
    ("protocol", "answer"),
    [
        ("stun", lambda asked: bytes([1, 1, 0, 12]) + asked[4:] + bytes(12)),
        ("sntp", lambda asked: bytes([0x24, 10]) + bytes(22) + asked[40:] + bytes(16)),
        ("coap", lambda asked: bytes([0x68, 0x45]) + asked[2:12] + bytes(12)),
    ],
)
def test_answers_of_a_protocol(program: Path, protocol: str, answer: Callable[[bytes], bytes]) -> None:
    with server(lambda sock, payload, peer: sock.sendto(answer(payload), peer)) as port:
        said = load(program, port, "127.0.0.1", says=protocol)
    assert said["answers"] > 0
    assert said["wrong"] == 0
    with server(echo) as port:
        said = load(program, port, "127.0.0.1", says=protocol)
    assert said["answers"] == 0
    assert said["wrong"] > 0


def test_in_an_open_loop_latency_is_told(program: Path) -> None:
    with server(echo) as port:
        said = load(program, port, "127.0.0.1", rate=200)
    assert said["answers"] > 0
    assert 0 < said["latency_us"]["median"] <= said["latency_us"]["p99"]


def test_a_changed_byte_is_no_answer(program: Path) -> None:
    with server(spoil) as port:
        said = load(program, port, "127.0.0.1")
    assert said["answers"] == 0
    assert said["wrong"] > 0


def test_of_several_addresses_the_one_that_was_asked_must_answer(program: Path) -> None:
    # Another socket's port is another source as well.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.3", 0))
        with server(lambda _sock, payload, peer: echo(other, payload, peer)) as port:
            said = load(program, port, "127.0.0.1", "127.0.0.2")
    assert said["answers"] == 0
    assert said["wrong"] > 0


def test_of_one_address_the_kernel_drops_what_another_answers(program: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.3", 0))
        with server(lambda _sock, payload, peer: echo(other, payload, peer)) as port:
            said = load(program, port, "127.0.0.1", seconds=1.2)
    assert said["answers"] == 0
    assert said["lost"] > 0


def test_silence_is_lost(program: Path) -> None:
    with server(lambda *_: None) as port:
        said = load(program, port, "127.0.0.1", seconds=1.2)
    assert said["answers"] == 0
    assert said["lost"] > 0

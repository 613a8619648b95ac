"""What `tests.fuzz` gives to tftp, and how it judges: requests to the port, and packets of a transfer."""

from __future__ import annotations

import contextlib
from pathlib import Path

from responder_plugins.tftp.files import Outside, path_of
from responder_plugins.tftp.message import (
    BLOCK_SIZES,
    MODES,
    agree,
    is_error,
    read_acknowledgment,
    read_request,
    write_option_acknowledgment,
)

from responder import PeerError

from .support import ack, options_of, request

HERE = Path(__file__).resolve().parent

SEEDS = (
    request("fuzz_target.py"),
    request("/sub/../support.py", "netascii"),
    request("..\\test_requests.py", blksize=1428, tsize=0, timeout=5, windowsize=16),
    request("NUL", "mail", opcode=2),
    ack(1),
    b"\0\5\0\0enough\0",
)
WORDS = (
    b"\0octet\0|\0netascii\0|\0mail\0|blksize\0|tsize\0|timeout\0|windowsize\0|multicast\0|65464\0|8\0|0\0|-1\0|"
    b"fuzz_target.py|../|..\\|//|C:|NUL|%00|\xff"
).split(b"|")


def answered(payload: bytes) -> bytes | None:
    """The option acknowledgment, once judged.  Raises AssertionError for one that would not be right."""
    number = read_acknowledgment(payload)
    assert number is None or payload[:4] == ack(number)
    assert is_error(payload) == payload.startswith(b"\0\5")
    try:
        asked = read_request(payload)
    except PeerError:
        return None
    with contextlib.suppress(Outside, OSError):
        assert HERE in path_of(HERE, asked.name).parents
    terms, told = agree(asked.options, 1_000, 64, 1 << 17)
    assert terms.block_size in BLOCK_SIZES
    assert 1 <= terms.window_size <= 64
    assert terms.block_size * terms.window_size <= 1 << 17
    answer = write_option_acknowledgment(told)
    assert not told or options_of(answer) == {name: str(value) for name, value in told.items()}
    assert len(answer) <= len(payload) + len("1000")
    return answer if asked.mode in MODES else None

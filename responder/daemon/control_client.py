"""The commands' end of the control channel (`responder.daemon.control`)."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import NetworkError, ResponderError
from ..net import owner_socket

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer's line: more than the status of a host with thousands of interfaces has."""

PATIENCE = 5.0
"""Seconds that the daemon has to accept."""


def ask(path: Path, request: Mapping[str, Any], *, timeout: float | None = None) -> Iterator[dict[str, Any]]:
    """Ask the daemon at `path`, and give its answers as they come; blocking.

    `timeout` in seconds is for each answer.  They end where the daemon does.  Raises NetworkError where there is no
    daemon, or it does not answer, and ResponderError with what it objects to.
    """
    with owner_socket.connect(path, PATIENCE) as sock:
        sock.settimeout(timeout)
        try:
            # A refused client can no longer send, but it can still read the reason.
            with suppress(ConnectionError):
                sock.sendall(json.dumps(request).encode() + b"\n")
            with sock.makefile("rb") as lines:
                while line := lines.readline(MAX_ANSWER):
                    if len(line) == MAX_ANSWER:
                        raise ResponderError(f"the daemon at {path} says more than {MAX_ANSWER} bytes at once")
                    if not line.endswith(b"\n"):
                        return  # it ended in the middle
                    answer = _parsed(line, path)
                    if "error" in answer:
                        raise ResponderError(f"the daemon at {path}: {answer['error']}")
                    yield answer
        except TimeoutError as error:
            raise NetworkError(errno.ETIMEDOUT, f"the daemon at {path} does not answer") from error
        except ConnectionError:
            return  # it ended


def _parsed(line: bytes, path: Path) -> dict[str, Any]:
    """Raises ResponderError."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ResponderError(f"what listens at {path} is no daemon of this kind: it gives no JSON object")
    return answer

from collections.abc import Callable
from typing import Any

from ..types import Flow, Route

source: str
"""The SHA-256 of the source that it was built from."""

class Memory:
    def __init__(
        self,
        classes: tuple[type, ...],
        decode: Callable[[bytes], Flow],
        payload_size: int,
        control_size: int,
        /,
    ) -> None: ...
    def answer(
        self,
        descriptor: int,
        limit: int,
        number: int,
        segments: bool,
        port: Any,
        now: float,
        wall: float,
        encode: Callable[[Route], bytes],
        /,
    ) -> tuple[int, int, int, int]:
        """See `responder.net.types.AnswerUsual`.  `number` is the socket's own, for good."""

    def forget(self) -> None: ...

from collections.abc import Callable
from typing import Any

from ..types import Asking, Flow, Route

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
        port: Asking,
        decisions: dict[Flow, Any],
        moment: tuple[float, float],
        encode: Callable[[Route], bytes],
        /,
    ) -> tuple[int, int]: ...

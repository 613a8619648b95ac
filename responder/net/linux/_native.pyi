from collections.abc import Callable, Sequence

from ..types import Flow, Message, Received, Route

class Native:
    drops: int
    def __init__(
        self,
        kind: type[Received],
        decode: Callable[[bytes], Flow],
        payload_size: int = ...,
        control_size: int = ...,
    ) -> None: ...
    def receive(self, descriptor: int, limit: int) -> list[Received] | int: ...
    def send(
        self,
        descriptor: int,
        messages: Sequence[Message],
        start: int,
        routes: dict[Route, bytes],
        encode: Callable[[Route], bytes],
    ) -> int: ...

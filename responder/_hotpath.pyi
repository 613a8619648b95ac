from collections.abc import Sequence, Set

from .flows import Binding, Flow, Taker
from .metrics import Tally
from .net.types import Message, Path, Received

def setup(
    received: type[Received], flow: type[Flow], taker: type[Taker], binding: type[Binding], outcome: str, /
) -> None: ...
def answers(
    port: object, burst: Sequence[Received], flows: dict[Path, Flow], own_numbers: Set[int], /
) -> tuple[list[Message], list[Tally]]: ...

from collections.abc import Sequence, Set

from ..net.types import Message, Path, Received
from .flow import Binding, Flow, Taker
from .outcomes import Tally

def setup(
    received: type[Received], flow: type[Flow], taker: type[Taker], binding: type[Binding], outcome: str, /
) -> None: ...
def answers(
    port: object, burst: Sequence[Received], flows: dict[Path, Flow], own_numbers: Set[int], /
) -> tuple[list[Message], list[Tally]]: ...

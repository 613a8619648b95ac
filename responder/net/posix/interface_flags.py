"""The flags of an interface by their names (<net/if.h>): Linux and the BSDs differ in IFF_MULTICAST alone."""

from __future__ import annotations

_FLAGS = ((0x1, "up"), (0x40, "running"), (0x2, "broadcast"), (0x8, "loopback"), (0x10, "point-to-point"))


def flag_names(bits: int, *, multicast: int) -> frozenset[str]:
    """The names of `responder.datagram.Interface.flags`; `multicast` is the system's IFF_MULTICAST."""
    return frozenset(name for bit, name in (*_FLAGS, (multicast, "multicast")) if bits & bit)

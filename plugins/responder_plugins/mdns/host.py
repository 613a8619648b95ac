"""This host's name, as a label of mDNS."""

from __future__ import annotations

import platform
from typing import Final

from .names import composed
from .options import check_label

FALLBACK: Final = "responder"
"""The name of a host that has none that can be one."""


def host_label() -> str:
    """The first label of this host's name."""
    label = composed(platform.node().partition(".")[0])
    try:
        check_label(label)
    except ValueError:
        return FALLBACK
    return FALLBACK if label.lower() == "localhost" else label

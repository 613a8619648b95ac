"""This host's name, the default of what llmnr, nbns and wsd call it."""

from __future__ import annotations

import platform


def host_name() -> str:
    """The first label of the host's name; "localhost" where it has none."""
    return platform.node().partition(".")[0] or "localhost"

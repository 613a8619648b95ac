"""The loopback addresses of this machine: no test is tied to IPv6, which a container may not have.

@pytest.mark.parametrize("address", FAMILIES)    in each family; one that is not there is skipped with its reason
client.sendto(b"x", (LOOPBACK, port))            where the family does not matter: IPv6 where there is one
"""

from __future__ import annotations

import pytest

from .requirements import lacks_ipv6

FAMILIES = ["127.0.0.1", pytest.param("::1", marks=pytest.mark.ipv6)]
LOOPBACK = "127.0.0.1" if lacks_ipv6() else "::1"

"""The short form of `tests.soak`: does a daemon under load and faults hold ever more?"""

from __future__ import annotations

import pytest

from tests.soak import soak, verdict

pytestmark = pytest.mark.lab

SECONDS = 60.0
EVERY = 1.0


def test_memory_and_descriptors_stay_flat() -> None:
    found = verdict(soak(SECONDS, EVERY))
    # A leak of one object a datagram would be megabytes here, one descriptor a fault dozens.
    assert found.memory[1] <= found.memory[0] * 1.03, found
    assert found.descriptors[1] <= found.descriptors[0] + 2, found
    # Threads are kept for a moment (trio's cache): as many as were needed at a time.
    assert found.threads[1] <= found.threads[0] + 8, found
    assert found.answered > 0.999, found

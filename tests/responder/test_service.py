"""What services and replies may have."""

from __future__ import annotations

from typing import Any

import pytest

from responder import Reply, Service


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", -1),
        ("port", 65536),
        ("rate", -0.5),
        ("amplification", float("inf")),
        ("max_pending", 0),
        ("max_connections", 1.5),
        ("answer_timeout", 0.0),
        ("answer_timeout", float("nan")),
        ("hop_limit", 0),
        ("hop_limit", 256),
        ("tcp_hop_limit", "1"),
        ("connections_per_peer", -1),
    ],
)
def test_what_a_service_can_t_have_is_named(field: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=field):
        Service(**{"port": 7007, field: value})


@pytest.mark.parametrize("keys", [{"udp": False}, {"udp": False, "tcp": True, "groups": ["239.255.70.7"]}])
def test_a_service_has_a_transport_and_udp_for_groups(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^udp: a service with"):
        Service(port=7007, **keys)


def test_the_ends_of_ranges() -> None:
    Service(port=0, rate=0.0, amplification=None, max_pending=1, answer_timeout=0.001, hop_limit=1, tcp_hop_limit=255)
    Service(port=65535)
    with pytest.raises(ValueError, match="hop_limit"):
        Reply(b"", hop_limit=256)

"""What a scrape says."""

from __future__ import annotations

import attrs
from prometheus_client.parser import text_string_to_metric_families

from responder.daemon.prometheus import render
from responder.daemon.status import Status

from .support import STATUS, instance


def samples(status: Status) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of their names) -> value."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(render(status).decode())
        for sample in family.samples
    }


def test_what_a_scrape_says() -> None:
    found = samples(STATUS)
    assert found["responderd_build_info", "true", "3.12.1", "Linux 6.1", "1.2"] == 1
    assert found["responderd_config_last_reload_successful",] == 0
    assert found["responderd_config_last_reload_success_timestamp_seconds",] == 1_700_000_000.25
    assert found["responderd_received_bytes_total", "53", "udp"] == 1000
    assert found["responderd_sent_bytes_total", "53", "udp"] == 5000
    assert found["responderd_sent_bytes_total", "53", "tcp"] == 80
    assert found["responderd_uptime_seconds",] == 60.5
    assert found["responderd_ready",] == 1
    assert found["responderd_datagrams_total", "lan", "answered", "dns"] == 10
    assert found["responderd_datagrams_total", 'a"\n\\b', "denied", "-"] == 1
    assert found["responderd_restarts_total", "echo"] == 3
    assert found["responderd_plugin_up", "dns"] == 1
    assert found["responderd_pending_answers", "dns"] == 2
    assert found["responderd_slowest_respond_seconds", "dns"] == 0.25
    assert found["responderd_plugin_events_total", "formerr", "dns"] == float(2**64 - 1)
    assert found["responderd_kernel_drops_total", "*", "53"] == 5
    assert found["responderd_kernel_drops_total", "::1", "53"] == 6
    assert found["responderd_port_events_total", "*", "failed-receives", "53"] == 2
    assert found["responderd_memberships", "lan", "joined"] == 2
    assert found["responderd_memberships", "guest0", "joined"] == 0
    assert found["responderd_memberships", "guest0", "missing"] == 1
    assert found["responderd_membership_failures_total",] == 4
    assert found["responderd_respond_seconds_bucket", "0.001", "dns", "default"] == 8
    assert found["responderd_respond_seconds_bucket", "+Inf", "dns", "default"] == 9
    assert found["responderd_respond_seconds_sum", "dns", "default"] == 1.5


def test_what_is_not_ready() -> None:
    found = samples(attrs.evolve(STATUS, instances=(instance("dns", "restarting"),)))
    assert found["responderd_ready",] == 0
    assert found["responderd_plugin_up", "dns"] == 0

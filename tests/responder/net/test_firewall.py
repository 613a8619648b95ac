"""Commands for the firewall: shown on Windows by `responderd check`, which tests/windows/test_commands.py runs."""

from __future__ import annotations

import sys

import pytest

from responder.net.firewall import opening_commands, windows_commands


def test_each_transport_has_a_rule_with_its_ports() -> None:
    assert windows_commands([5353, 53, 53, 0], [53]) == [
        'New-NetFirewallRule -DisplayName "responderd UDP" -Direction Inbound -Action Allow -Protocol UDP'
        " -LocalPort 53,5353",
        'New-NetFirewallRule -DisplayName "responderd TCP" -Direction Inbound -Action Allow -Protocol TCP'
        " -LocalPort 53",
    ]


def test_nothing_to_open_is_no_rule() -> None:
    assert windows_commands([0], []) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there Windows' firewall is on")
def test_elsewhere_there_is_nothing_to_say() -> None:
    assert opening_commands([53], [53]) == []

"""What is no mistake, but hardly meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from responder.config.hints import unmatched_patterns, unreachable
from responder.config.reading import Config
from responder.config.reading import parse as parse_text


def parse(text: str) -> Config:
    return parse_text(text, file=None, folder=Path("/etc"))


def test_patterns_that_match_no_interface_are_named() -> None:
    found = parse("[plugins.echo]\ninterfaces = ['eth*', 'guest*', '!docker?', '!lo']\n[plugins.whoami]\n")
    assert unmatched_patterns(found, ["lo", "eth0"]) == [("plugins.echo.interfaces[1]", "guest*")]
    assert unmatched_patterns(found, ["lo", "eth0", "guest7", "docker0"]) == []


TLS = """use = "dns"
here = ["ns.test"]
tls = { certificate = "server.pem", key = "server.key", serve = ["tls"] }
"""
SHADOWED = [("plugins.second", "it gets no connection: first has all of port 853, and passes none on")]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("", "", SHADOWED),
        ("", "interfaces = ['guest*']", SHADOWED),
        ("allow = ['10.0.0.0/8']", "allow = ['10.0.0.0/8']", SHADOWED),
        ("listen = ['192.0.2.1']", "listen = ['192.0.2.1']", SHADOWED),
        ("", "ports = { tls = 8853 }", []),
        ("interfaces = ['guest*']", "", []),
        ("allow = ['10.0.0.0/8']", "", []),
        ("deny = ['10.0.0.0/8']", "", []),
        ("on_link = true", "", []),
        ("", "listen = ['192.0.2.1']", []),
        ("ports = { tls = 0 }", "ports = { tls = 0 }", []),
    ],
)
def test_an_instance_that_gets_no_connection(first: str, second: str, expected: list[tuple[str, str]]) -> None:
    config = parse(f"[plugins.first]\n{TLS}{first}\n[plugins.second]\n{TLS}{second}\n")
    assert list(unreachable(config)) == expected


def test_connections_that_may_be_passed_on_are_no_matter() -> None:
    assert (
        list(unreachable(parse("[plugins.a]\nuse = 'dns'\nhere = ['a.test']\n[plugins.dns]\nhere = ['b.test']"))) == []
    )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", []),
        ("allow = ['10.0.0.0/8']\ndeny = ['10.1.0.0/16', '::/0']", []),
        ("deny = ['0.0.0.0/0']", []),
        ("interfaces = ['!eth*']", []),
        ("interfaces = ['!*', 'eth0']", [("plugins.echo", "it is never asked: interfaces excludes every one ('!*')")]),
        ("deny = ['0.0.0.0/0', '::/0']", [("plugins.echo", "it is never asked: deny has all that might")]),
        (
            "allow = ['10.0.0.0/8', '192.0.2.0/24']\ndeny = ['10.0.0.0/7']",
            [("plugins.echo.allow[0]", "10.0.0.0/8 lets nobody ask: deny has 10.0.0.0/7")],
        ),
        (
            "allow = ['2001:db8::/32']\ndeny = ['0.0.0.0/0', '2001:db8::/32']",
            [
                ("plugins.echo", "it is never asked: deny has all that might"),
                ("plugins.echo.allow[0]", "2001:db8::/32 lets nobody ask: deny has 2001:db8::/32"),
            ],
        ),
    ],
)
def test_what_lets_nobody_ask(keys: str, expected: list[tuple[str, str]]) -> None:
    assert list(unreachable(parse(f"[plugins.echo]\n{keys}\n"))) == expected

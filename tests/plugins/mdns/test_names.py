"""Names: text and wire form, and what a taken one is changed to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from responder_plugins.mdns.host import host_label
from responder_plugins.mdns.names import from_text, numbered_host, numbered_instance, reverse
from responder_plugins.shared.dns_message import labels, to_name
from responder_plugins.shared.dns_text import to_text


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=3))
def test_every_name_as_text_is_that_name(parts: list[bytes]) -> None:
    name = to_name(parts)
    if parts:
        assert from_text(to_text(name)) == name
        assert to_text(name).isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lab.local", [b"lab", b"local"]),
        ("lab.local.", [b"lab", b"local"]),
        (r"a\.b.local", [b"a.b", b"local"]),
        (r"a\\.local", [b"a\\", b"local"]),
        (r"a\032b\255.local\.", [b"a b\xff", b"local."]),
        ("Büro.local", ["Büro".encode(), b"local"]),
    ],
)
def test_text_as_a_name(text: str, expected: list[bytes]) -> None:
    assert [*labels(from_text(text))] == expected


@pytest.mark.parametrize("text", ["", "a..b", "a.b\\", r"a\25", r"a\256", r"a\2x5", "x" * 64, ".".join(["x" * 60] * 5)])
def test_text_that_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_text(text)


@pytest.mark.parametrize(
    ("number", "host", "instance"), [(1, "lab", "Lab"), (2, "lab-2", "Lab (2)"), (11, "lab-11", "Lab (11)")]
)
def test_the_next_name(number: int, host: str, instance: str) -> None:
    assert numbered_host("lab", number) == host
    assert numbered_instance("Lab", number) == instance


def test_the_next_name_is_a_label_whatever_the_first_was() -> None:
    assert numbered_host("x" * 63, 2) == "x" * 61 + "-2"
    assert numbered_instance("ü" * 31, 2) == "ü" * 29 + " (2)"
    assert len(numbered_instance("語" * 21, 10).encode()) <= 63


def test_reverse_names() -> None:
    assert to_text(reverse(ip_address("10.71.0.1"))) == "1.0.71.10.in-addr.arpa"
    assert to_text(reverse(ip_address("fe80::1"))) == "1." + "0." * 28 + "8.e.f.ip6.arpa"


@pytest.mark.parametrize(
    ("node", "label"),
    [
        ("lab.example.org", "lab"),
        ("lab", "lab"),
        ("", "responder"),
        ("localhost", "responder"),
        ("x" * 64, "responder"),
    ],
)
def test_this_host_s_name(node: str, label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: node)
    assert host_label() == label

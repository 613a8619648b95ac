"""HTTPU as bytes: what is read, what is refused, and that nothing else happens."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from responder_plugins.ssdp.message import MAX_MESSAGE, Search, read_message, read_search, write_message, write_search

from responder import PeerError

from .support import search


@pytest.mark.parametrize(
    "payload",
    [
        search("ssdp:all", mx=3),
        search("ssdp:all", mx=3).replace(b"\r\n", b"\n"),
        b"m-search * http/1.1\r\nman:ssdp:discover\r\nmx :3\r\nsT:   ssdp:all  \r\n\r\n",
        b'M-SEARCH * HTTP/1.0\r\nST:"ssdp:all"\r\nMX:3\r\nMAN:"ssdp:discover"\r\nCONTENT-LENGTH: 4\r\n\r\nbody',
        search("ssdp:all", mx=3, **{"USER-AGENT": "Salon-TM"}).replace(b"TM", b"T\x84\xff"),
        b"\r\n" + search("ssdp:all", mx=3),
        b"\n\r\n\n" + search("ssdp:all", mx=3),
        b'M-SEARCH  * HTTP/1.1\r\nX:\r\nX: \xc3\xa9\r\nMX:03\r\nMAN: "SSDP:Discover"\r\nST: ssdp:all\r\n\r\n',
    ],
)
def test_what_real_control_points_send_is_read(payload: bytes) -> None:
    assert read_search(payload) == Search("ssdp:all", 3)


@pytest.mark.parametrize(("mx", "read"), [("0", 0), ("000", 0), ("05", 5), ("6", 5), ("300", 5), ("9" * 3000, 5)])
def test_mx_is_a_number_of_seconds_up_to_five(mx: str, read: int) -> None:
    assert read_search(search(mx=mx)) == Search("upnp:rootdevice", read)


def test_the_target_is_kept_as_it_was_asked() -> None:
    for target in ("uuid:2FAC1234-31f8-11B4-A222-08002B34C003", "UPNP:RootDevice", "urn:Belkin:device:**"):
        assert read_search(search(target)) == Search(target, 1)


def test_a_target_with_bytes_that_are_no_text_is_no_target() -> None:
    with pytest.raises(PeerError):
        read_search(search("ssdp:all").replace(b"ssdp:all", b"ssdp:\xff"))


def test_nothing_but_empty_lines_is_no_message() -> None:
    for payload in (b"\r\n" * 2000, b"\n" * 65000, b"\r" * 100, b"\r\n" * 3000 + search()):
        with pytest.raises(PeerError):
            read_search(payload)


def test_a_unicast_search_has_no_mx() -> None:
    assert read_search(search("upnp:rootdevice", mx=None)) == Search("upnp:rootdevice", None)


@pytest.mark.parametrize("payload", [b"NOTIFY * HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"notify * HTTP/1.1"])
def test_what_others_say_is_no_search(payload: bytes) -> None:
    assert read_search(payload) is None


HOSTILE = {
    "empty": b"",
    "garbage": b"\x00\x01\x02",
    "overlong ST": search("x" * 257),
    "no ST": search("ssdp:all").replace(b"ST: ssdp:all\r\n", b""),
    "empty ST": search(""),
    "two STs": search("ssdp:all", st="upnp:rootdevice"),
    "lone quote in MAN": search(MAN='"ssdp:discover'),
    "only a quote as MAN": search(MAN='"'),
    "lone quote in ST": search('ssdp:all"'),
    "other MAN": search(MAN='"ssdp:other"'),
    "negative MX": search(mx=-1),
    "fraction as MX": search(mx=1.5),
    "word as MX": search(mx="soon"),
    "digits of another script as MX": search(mx="\N{ARABIC-INDIC DIGIT THREE}"),
    "empty MX": search(mx=""),
    "no blank line": search()[:-2],
    "NUL": search("ssdp:all\0"),
    "bare CR": search("ssdp:all\rX"),
    "escape": search("ssdp:all", USER_AGENT="\x1b[2J"),
    "64 KB of headers": search("ssdp:all", X="y" * 65000),
    "many headers": search("ssdp:all", **{f"X{number}": "" for number in range(70)}),
    "no colon": search().replace(b"\r\n\r\n", b"\r\nnothing\r\n\r\n"),
    "no name": search().replace(b"\r\n\r\n", b"\r\n: x\r\n\r\n"),
    "folded": search().replace(b"\r\n\r\n", b"\r\n folded\r\n\r\n"),
    "other path": search().replace(b"*", b"/x"),
    "other version": search().replace(b"HTTP/1.1", b"HTTP/2.0"),
    "no version": search().replace(b" HTTP/1.1", b""),
    "more in the first line": search().replace(b"HTTP/1.1", b"HTTP/1.1 x"),
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_messages_are_refused(payload: bytes) -> None:
    with pytest.raises(PeerError):
        read_search(payload)


@given(st.binary(max_size=MAX_MESSAGE + 10))
def test_anything_is_read_or_refused(payload: bytes) -> None:
    for read in (read_search, read_message):
        with contextlib.suppress(PeerError):
            read(payload)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6), st.integers(0, 200))
def test_a_mutilated_search_is_read_or_refused(changes: list[tuple[int, int]], cut: int) -> None:
    payload = bytearray(search("urn:schemas-upnp-org:device:Basic:1", mx=2))
    for position, value in changes:
        payload[position % len(payload)] = value
    try:
        found = read_search(bytes(payload[: len(payload) - cut % 3]))
    except PeerError:
        return
    assert found is None or (found.target and (found.mx is None or 0 <= found.mx <= 5))


NAMES = st.from_regex(r"[A-Z][A-Z.-]{0,20}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), max_size=40)


@given(st.dictionaries(NAMES, VALUES, max_size=20))
def test_what_is_written_is_read(headers: dict[str, str]) -> None:
    message = read_message(write_message("NOTIFY * HTTP/1.1", headers))
    assert message.start == "NOTIFY * HTTP/1.1"
    assert message.headers == {name.lower(): value for name, value in headers.items()}


def test_a_header_without_value_and_one_that_is_left_out() -> None:
    assert write_message("HTTP/1.1 200 OK", {"EXT": "", "X": None}) == b"HTTP/1.1 200 OK\r\nEXT:\r\n\r\n"


def test_our_own_search_is_read() -> None:
    payload = write_search("[FF02::C]:1900", "ssdp:all", 2, "lab")
    assert read_search(payload) == Search("ssdp:all", 2)
    assert b"\r\nCPFN.UPNP.ORG: lab\r\n" in payload, "UDA 2.0 section 1.3.2 requires a name"

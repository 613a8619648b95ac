"""Requests and their answers: what is there, what is refused and how."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from responder_plugins.coap import Content, Resource, Unavailable

from responder import Exchange, PeerError
from responder.testing import answered_from

from .support import (
    ACCEPT,
    ACK,
    BAD_OPTION,
    BAD_REQUEST,
    CON,
    CONTENT,
    DELETE,
    ETAG,
    FAILED,
    FORBIDDEN,
    FORMAT,
    GET,
    MAX_AGE,
    NO_PROXY,
    NON,
    NOT_ACCEPTABLE,
    NOT_ALLOWED,
    NOT_FOUND,
    POST,
    PUT,
    RST,
    UNAVAILABLE,
    VALID,
    empty,
    get,
    handler_of,
    message,
    of_path,
    read,
    serving,
)

ABOUT = {"/about": {"text": "a lab", "content_format": 0, "rt": "example"}}


class Thermometer(Resource):
    """Gives what the query asks for, or fails as it says."""

    def get(self, queries: Sequence[str]) -> Content:
        if "gone" in queries:
            raise Unavailable("the bus is off")
        if "broken" in queries:
            raise ZeroDivisionError
        return Content(b" ".join(query.encode() for query in queries) or b"21", 0, max_age=5)


class TestGet:
    async def test_a_text(self) -> None:
        async with serving(ABOUT) as coap:
            answer = await coap.ask(get("/about", 77))
            assert (answer.kind, answer.code, answer.message_id, answer.token) == (ACK, CONTENT, 77, b"tok")
            assert answer.payload == b"a lab"
            assert answer.option(FORMAT) == b"", "0 has no bytes (section 3.2)"
            assert answer.option(MAX_AGE) is None, "60 is the default"
            assert [number for number, _ in answer.options] == [ETAG, FORMAT]
            assert coap.counts == {"content": 1}

    async def test_from_the_address_that_was_asked(self) -> None:
        async with serving(ABOUT) as coap:
            for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "fe80::1"):
                (heard,) = await coap.send(get("/about"), address)
                answered_from(heard, address)

    async def test_non_confirmable(self) -> None:
        async with serving(ABOUT) as coap:
            answers = [await coap.ask(get("/about", number, kind=NON, token=b"")) for number in range(1, 4)]
            assert {(each.kind, each.code, each.token, each.payload) for each in answers} == {
                (NON, CONTENT, b"", b"a lab")
            }
            assert len({each.message_id for each in answers}) == 3

    async def test_a_file_as_it_is_now(self, tmp_path: Path) -> None:
        (tmp_path / "hello.txt").write_text("one")
        async with serving({"/hello": "hello.txt"}, folder=tmp_path) as coap:
            first = await coap.ask(get("/hello", 1))
            (tmp_path / "hello.txt").write_text("two")
            second = await coap.ask(get("/hello", 2))
            assert (first.kind, first.payload, second.payload) == (ACK, b"one", b"two")
            assert first.option(ETAG) != second.option(ETAG)

    @pytest.mark.parametrize(
        ("name", "number"), [("a.json", 50), ("a.XML", 41), ("a.cbor", 60), ("a.bin", 42), ("a", 42), ("a.txt", 0)]
    )
    async def test_the_format_of_a_file(self, tmp_path: Path, name: str, number: int) -> None:
        (tmp_path / name).write_bytes(b"x")
        resources = {"/x": name, "/y": {"file": name, "content_format": 110}}
        async with serving(resources, folder=tmp_path) as coap:
            assert (await coap.ask(get("/x", 1))).number(FORMAT) == number
            assert (await coap.ask(get("/y", 2))).number(FORMAT) == 110

    async def test_paths_are_told_apart_by_their_segments(self) -> None:
        paths = {"/": "root", "/a": "a", "/a/": "a with an empty segment", "/a/b": "a b", "/a%2Fb": "a slash b"}
        async with serving({path: {"text": text} for path, text in paths.items()}) as coap:
            asked = [[], [b"a"], [b"a", b""], [b"a", b"b"], [b"a/b"]]
            for number, segments in enumerate(asked):
                answer = await coap.ask(message(CON, GET, number, b"", [(11, segment) for segment in segments]))
                assert answer.payload.decode() == list(paths.values())[number]
            assert (await coap.ask(get("/b", 9))).code == NOT_FOUND

    async def test_what_a_file_may_say_of_itself(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"")
        async with serving({"/a": {"file": "a", "max_age": "5m"}}, folder=tmp_path) as coap:
            answer = await coap.ask(get("/a"))
            assert (answer.code, answer.payload, answer.number(MAX_AGE)) == (CONTENT, b"", 300)

    async def test_a_resource_of_others(self) -> None:
        async with serving({}, more={"/t": Thermometer()}) as coap:
            answer = await coap.ask(get("/t", 1))
            assert (answer.code, answer.payload, answer.number(MAX_AGE)) == (CONTENT, b"21", 5)
            assert (await coap.ask(get("/t?unit=C&x", 2))).payload == b"unit=C x"
            answer = await coap.ask(get("/t?gone", 3))
            assert (answer.code, answer.payload) == (UNAVAILABLE, b"the bus is off")

    async def test_a_resource_that_fails_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        async with serving({}, more={"/t": Thermometer()}) as coap:
            assert [(await coap.ask(get("/t?broken", number))).code for number in range(3)] == [FAILED] * 3
        assert caplog.text.count("a resource failed") == 1

    async def test_host_and_port_of_the_uri_are_taken(self) -> None:
        async with serving(ABOUT) as coap:
            assert (await coap.ask(get("/about", 1, (3, b"lab.example"), (7, b"\x16\x33")))).code == CONTENT


class TestConditions:
    async def test_an_entity_tag_that_is_still_right(self) -> None:
        async with serving(ABOUT) as coap:
            etag = (await coap.ask(get("/about", 1))).option(ETAG)
            assert etag
            answer = await coap.ask(get("/about", 2, (ETAG, b"other"), (ETAG, etag)))
            assert (answer.code, answer.payload, answer.options) == (VALID, b"", [(ETAG, etag)])
            assert (await coap.ask(get("/about", 3, (ETAG, b"other")))).code == CONTENT

    async def test_accept(self) -> None:
        async with serving(ABOUT) as coap:
            assert (await coap.ask(get("/about", 1, (ACCEPT, b"")))).code == CONTENT
            assert (await coap.ask(get("/about", 2, (ACCEPT, b"\x32")))).code == NOT_ACCEPTABLE


class TestRefusals:
    @pytest.mark.parametrize("code", [POST, PUT, DELETE, 5, 7, 31])
    async def test_methods(self, code: int) -> None:
        async with serving(ABOUT) as coap:
            answer = await coap.ask(get("/about", 1, code=code))
            assert (answer.kind, answer.code, answer.token) == (ACK, NOT_ALLOWED, b"tok")
            answer = await coap.ask(get("/about", 2, (27, b"\x0e"), (1, b"etag"), code=code, kind=NON))
            assert (answer.kind, answer.code) == (NON, NOT_ALLOWED)

    @pytest.mark.parametrize("option", [(35, b"coap://example/"), (39, b"http"), (35, b"")])
    async def test_no_proxy(self, option: tuple[int, bytes]) -> None:
        async with serving(ABOUT) as coap:
            assert (await coap.ask(get("/about", 1, option))).code == NO_PROXY
            assert (await coap.ask(get("/about", 2, option, code=PUT))).code == NO_PROXY

    @pytest.mark.parametrize(
        "options",
        [
            [(9, b"")],  # OSCORE
            [(1, b"etag")],  # If-Match
            [(5, b"")],  # If-None-Match
            [(27, b"\x06")],  # Block1: a GET has none
            [(65001, b"x")],
            [(3, b"")],  # Uri-Host of no bytes
            [(3, b"x" * 256)],
            [(7, b"abc")],  # Uri-Port of three
            [(11, b"x" * 256)],
            [(15, b"x" * 256)],
            [(17, b"abc")],
            [(23, b"abcd")],
            [(17, b""), (17, b"")],  # twice
            [(23, b"\x06"), (23, b"\x06")],
        ],
    )
    async def test_unknown_critical_options(self, options: list[tuple[int, bytes]]) -> None:
        async with serving(ABOUT) as coap:
            answer = await coap.ask(get("/about", 1, *options))
            assert (answer.kind, answer.code, answer.payload) == (ACK, BAD_OPTION, f"option {options[0][0]}".encode())
            assert await coap.ask(get("/about", 2, *options, kind=NON)) == read(empty(RST, 2)), "section 5.4.1"

    @pytest.mark.parametrize(
        "options",
        [[(12, b"")], [(14, b"\x01")], [(60, b"")], [(65000, b"x")], [(4, b"")], [(4, b"123456789")], [(6, b"1234")]],
    )
    async def test_elective_options_are_ignored(self, options: list[tuple[int, bytes]]) -> None:
        async with serving(ABOUT) as coap:
            assert (await coap.ask(get("/about", 1, *options, (28, b""), (28, b"")))).code == CONTENT

    async def test_a_payload_is_ignored(self) -> None:
        async with serving(ABOUT) as coap:
            assert (await coap.ask(message(CON, GET, 1, b"", of_path("/about"), b"x"))).code == CONTENT

    async def test_files_that_are_none(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        resources = {"/missing": "missing", "/folder": "folder"}
        async with serving(resources, folder=tmp_path) as coap:
            assert (await coap.ask(get("/missing", 1))).code == NOT_FOUND
            assert (await coap.ask(get("/folder", 2))).code in (FAILED, FORBIDDEN)
            (tmp_path / "missing").write_text("here")
            assert (await coap.ask(get("/missing", 3))).payload == b"here"

    async def test_nothing_but_what_is_configured_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("a")
        (tmp_path / "secret").write_text("secret")
        async with serving({"/a": "a"}, folder=tmp_path) as coap:
            for number, path in enumerate(("/secret", "/../secret", "/a/../secret", f"{tmp_path}/secret", "/a/secret")):
                assert (await coap.ask(get(path, number))).code == NOT_FOUND
            answer = await coap.ask(message(CON, GET, 99, b"", [(11, b"../secret")]))
            assert answer.code == NOT_FOUND

    async def test_a_block_of_a_reserved_size(self) -> None:
        async with serving(ABOUT) as coap:
            assert (await coap.ask(get("/about", 1, (23, b"\x07")))).code == BAD_REQUEST


class TestDescribing:
    def test_words(self) -> None:
        handler = handler_of(ABOUT)
        asked, answer = get("/a b/c?x=y&z"), message(ACK, NOT_FOUND, 1, b"tok")
        words = {"type": "CON", "method": "GET", "path": "/a%20b/c", "query": "x=y&z", "code": "4.04"}
        assert handler.describe(Exchange("udp", 5683, asked, (answer,))) == words
        told = message(NON, CONTENT, 1, b"t", [], b"hello")
        assert handler.describe(Exchange("udp", 5683, None, (told,))) == {"type": "NON", "method": "2.05"}
        assert handler.describe(Exchange("udp", 5683, empty(ACK, 1), ())) == {"type": "ACK", "method": "0.00"}
        with pytest.raises(PeerError):
            handler.describe(Exchange("udp", 5683, b"", ()))

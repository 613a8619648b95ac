"""`/.well-known/core` and its filters (RFC 6690)."""

from __future__ import annotations

from pathlib import Path

import pytest
from responder_plugins.coap.link_format import write_links

from .support import CONTENT, ECHO, FORMAT, get, serving

CORE = "/.well-known/core"

RESOURCES = {
    "/hello": "hello.txt",
    "/about": {"text": "a lab", "content_format": 0, "rt": "example"},
    "/s/1": {"file": "hello.txt", "rt": "temperature-c indoor", "if": "sensor", "title": 'The "one"\\two', "sz": 40},
    "/fixed": {"file": "hello.txt", "obs": False, "content_format": 50},
}

LINKS = {
    "hello": "</hello>;obs;ct=0",
    "about": '</about>;rt="example";ct=0',
    "s1": r'</s/1>;obs;rt="temperature-c indoor";if="sensor";title="The \"one\"\\two";ct=0;sz=40',
    "fixed": "</fixed>;ct=50",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hello.txt").write_text("hello")
    return tmp_path


async def test_all_links(folder: Path) -> None:
    async with serving(RESOURCES, folder=folder, unproved_block_size=1024) as coap:
        answer = await coap.ask(get(CORE))
        assert (answer.code, answer.number(FORMAT)) == (CONTENT, 40)
        assert answer.payload.decode() == ",".join(LINKS.values())
        assert await coap.fetch(CORE, 64) == answer.payload


async def test_in_blocks_without_an_echo(folder: Path) -> None:
    """nmap's coap-resources reads no answer with an option that it doesn't know."""
    async with serving(RESOURCES, folder=folder) as coap:
        answer = await coap.ask(get(CORE))
        assert (answer.block, answer.option(ECHO)) == ((0, True, 128), None)
        assert (await coap.fetch(CORE)).decode() == ",".join(LINKS.values())


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("rt=example", ["about"]),
        ("rt=exam*", ["about"]),
        ("rt=exam", []),
        ("rt=temperature-c", ["s1"]),
        ("rt=indoor", ["s1"]),
        ("rt=temperature-c indoor", ["s1"]),
        ("rt=in*", ["s1"]),
        ("rt=*", ["about", "s1"]),
        ("if=sensor", ["s1"]),
        ("href=/hello", ["hello"]),
        ("href=/s*", ["s1"]),
        ("href=/*", ["hello", "about", "s1", "fixed"]),
        ("ct=50", ["fixed"]),
        ("ct=5*", ["fixed"]),
        ("sz=40", ["s1"]),
        ('title=The "one"\\two', ["s1"]),
        ("title=The", []),
        ("obs", ["hello", "s1"]),
        ("obs=", ["hello", "s1"]),
        ("obs=1", []),
        ("rt=*&ct=0&obs", ["s1"]),
        ("nothing=*", []),
        ("", ["hello", "about", "s1", "fixed"]),
    ],
)
async def test_filters(folder: Path, query: str, names: list[str]) -> None:
    async with serving(RESOURCES, folder=folder, unproved_block_size=1024) as coap:
        answer = await coap.ask(get(f"{CORE}?{query}"))
        assert answer.code == CONTENT
        assert answer.payload.decode() == ",".join(LINKS[name] for name in names)


def test_odd_paths_are_escaped() -> None:
    told = write_links([((), {}), ((b"a b", b"\xc3\xa4/?#,;"), {}), ((b"",), {"x": True, "y": False, "n": 0})])
    assert told == b"</>,</a%20b/%C3%A4%2F%3F%23,;>,</>;x;n=0"


async def test_without_resources_there_are_no_links() -> None:
    async with serving({}) as coap:
        assert (await coap.ask(get(CORE))).payload == b""

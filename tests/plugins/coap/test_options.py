"""What an operator writes, and how mistakes are told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from responder_plugins.coap import Coap, Content, Resource

from responder import ConfigErrors, Context
from responder.testing import instances, options, wall_clock

from .support import handler_of

ISSUE = """
[plugins.coap]
resources = { "/hello" = "hello.txt", "/about" = { text = "a lab", content_format = 0, rt = "example" } }
"""


def test_the_config_of_the_readme(tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_text("hello")
    (instance,) = instances(ISSUE, folder=tmp_path)
    (service,) = instance.services
    assert service.port == 5683
    assert [str(group) for group in service.groups] == ["224.0.1.187", "ff02::fd", "ff05::fd"]


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"hello": "a"}, r"""resources."hello": expected a path such as '/sensors/1', got 'hello'"""),
        ({"/a?b": "a"}, r"""resources."/a\?b": expected a path"""),
        ({"/a#b": "a"}, "expected a path"),
        ({"/a/../b": "a"}, r"'.' or '..'"),
        ({"/" + "x" * 256: "a"}, "longer than 255 bytes"),
        ({"/a": "a", "/%61": "a"}, r'"/%61": the same path is there twice'),
        ({"/.well-known/core": "a"}, "this resource tells of the others"),
        ({"/a": {}}, r'resources."/a": expected either a file or a text'),
        ({"/a": {"text": "a", "file": "a"}}, "expected either a file or a text"),
        ({"/a": {"text": "a", "obs": True}}, "a text never changes"),
        ({"/a": {"text": "a", "content_format": 65536}}, r"content_format: expected 0..65535, got 65536"),
        ({"/a": {"text": "a", "max_age": -1}}, "max_age: "),
        ({"/a": {"text": "a", "rt": "a  b"}}, r"rt: expected names separated by single spaces"),
        ({"/a": {"text": "a", "if": ""}}, r"if: expected text"),
        ({"/a": {"text": "a", "title": "a\nb"}}, r"title: expected text without control characters"),
        ({"/a": {"text": "a", "sz": -1}}, "sz: expected 0"),
        ({"/a": {"text": "a", "iff": "x"}}, r"iff: unknown key; did you mean 'if'\?"),
        ({"/a": 7}, r'resources."/a": expected a file name or a table'),
    ],
)
def test_mistakes_in_resources(resources: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        options(Coap, resources=resources)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"block_size": 100}, "block_size: expected one of 16, 32"),
        ({"unproved_block_size": 2048}, "unproved_block_size: expected one of"),
        ({"max_observers": 10_001}, r"max_observers: expected 0..10000"),
        ({"max_per_peer": -1}, "max_per_peer: expected 0"),
        ({"leisure": "2h"}, "leisure: expected 0..3600"),
    ],
)
def test_mistakes(own: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        options(Coap, **own)


def test_a_file_that_is_missing_is_told_and_served_once_it_is_there(tmp_path: Path) -> None:
    context = Context("coap", tmp_path)
    options(Coap, resources={"/a": "a", "/b": {"text": "b"}}, folder=tmp_path).prepare(context)
    (complaint,) = context.complaints
    assert complaint.path == 'resources."/a"'
    assert complaint.file == tmp_path / "a"
    assert "no such file" in str(complaint)
    assert context.files == {}, "a change of the file is no change of the config"


async def test_a_large_file_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(100_000))
    resource: Any = handler_of({"/a": "a"}, folder=tmp_path).resources[b"a",]
    assert resource.read() is not resource.read(), "it may change within a tick of the clock of the file system"
    with wall_clock(time.time() + 10):
        known = resource.read()
        assert resource.read() is known
        (tmp_path / "a").write_bytes(bytes(100_001))
        assert len(resource.read().payload) == 100_001


class Nothing(Resource):
    def get(self, queries: object) -> Content:
        raise NotImplementedError


def test_resources_of_others_do_not_take_a_path_of_the_config() -> None:
    with pytest.raises(ConfigErrors, match=r'resources."/a": is what the plugin serves by itself'):
        handler_of({"/a": {"text": "a"}}, more={"/a": Nothing()})
    with pytest.raises(TypeError, match="more_resources: expected a path"):
        handler_of({}, more={"a": Nothing()})

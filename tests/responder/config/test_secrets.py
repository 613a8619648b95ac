"""Secrets among the options: never repeated, whatever is wrong with them or around them, and read from files."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import attrs
import pytest

from responder import Context, Handler, Plugin, PluginError, Secret
from responder.config.instance import Instance, failed, prepare
from responder.config.option_types import Kind
from responder.config.structuring import structure
from responder.errors import ConfigErrors

TEXT = "c2VjcmV0IGtleQ=="


def _even(_instance: object, _attribute: object, value: str) -> None:
    if len(value) % 2:
        raise ValueError(f"{value} has an odd number of characters")


def _refused(value: str) -> str:
    raise ValueError(f"no {value}")


@attrs.frozen
class Key:
    secret: Secret = attrs.field(validator=_even)
    algorithm: str = "a"


@attrs.frozen
class Options:
    password: Secret = attrs.field(default=Secret(""), validator=_even)
    several: tuple[Secret, ...] = ()
    maybe: Secret | None = None
    narrow: Annotated[str, Kind("pin", _refused, secret=True)] = ""
    keys: dict[str, Key] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.several[:1] == ("last",):
            raise ValueError(f"not with {self.password}")


def mistakes(table: Mapping[str, Any], folder: Path = Path()) -> str:
    with pytest.raises(ConfigErrors) as raised:
        structure(table, Options, folder=folder)
    # Nor does the traceback.
    assert TEXT not in "".join(traceback.format_exception(raised.value))
    return str(raised.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"password": [TEXT]}, "password: expected a secret, got an array"),
        ({"password": TEXT + "x"}, "password: ... has an odd number of characters"),
        ({"password": {"a": TEXT}}, "password: expected a secret, got a table"),
        ({"several": TEXT}, "several: expected an array of secrets, got a string"),
        ({"several": [[TEXT]]}, "several[0]: expected a secret, got an array"),
        ({"maybe": [TEXT]}, "maybe: expected a secret, got an array"),
        ({"narrow": TEXT}, "narrow: expected a pin, got another string"),
        ({"keys": TEXT}, "keys: expected a table of tables, got a string"),
        ({"keys": {"a": TEXT}}, "keys.a: expected a table, got a string"),
        ({"keys": {"a": {"secret": TEXT + "x"}}}, "keys.a.secret: ... has an odd number of characters"),
        ({"keys": {"a": {"secrte": TEXT}}}, "keys.a.secrte: unknown key; did you mean 'secret'?"),
        ({"password": TEXT, "several": ["last"]}, "not with ..."),
    ],
)
def test_no_message_repeats_one(table: Mapping[str, Any], message: str) -> None:
    assert message in mistakes(table).splitlines()


def test_what_is_no_secret_beside_one_is_told() -> None:
    assert "keys.a.algorithm: expected a string, got 5 (an integer)" in mistakes(
        {"keys": {"a": {"secret": TEXT, "algorithm": 5}}}
    )


def test_it_is_a_text_that_is_not_shown() -> None:
    options = structure({"password": TEXT, "several": [TEXT]}, Options, folder=Path())
    assert options.password == TEXT
    assert TEXT not in repr(options)


def _is_url(_instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for each in value:
        if "@" in each:
            raise ValueError(f"{attribute.name}: expected a URL, got {each!r} ({each})")


@attrs.frozen
class Addressed:
    urls: tuple[str, ...] = attrs.field(default=(), validator=_is_url)
    port: int = 0
    url: str = ""

    def __attrs_post_init__(self) -> None:
        if self.url:
            raise ValueError(f"{self.url} is of no use")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"urls": ["http://u:c2'V@//jc@127.0.0.1:1"]},
            'urls: expected a URL, got "http://...@127.0.0.1:1" (http://...@127.0.0.1:1)',
        ),
        ({"urls": ["u:c2'V@//jc@127.0.0.1:1"]}, 'urls: expected a URL, got "...@127.0.0.1:1" (...@127.0.0.1:1)'),
        ({"port": "http://u:c2'V@jc@h"}, "port: expected an integer, got 'http://...@h' (a string)"),
        ({"port": "http://" + "u:c2'V@jc" * 20 + "@h"}, "port: expected an integer, got 'http://...@h' (a string)"),
        ({"url": "//c2'V@h"}, "//...@h is of no use"),
    ],
)
def test_no_message_repeats_what_a_url_has_before_its_host(table: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors) as raised:
        structure(table, Addressed, folder=Path())
    assert str(raised.value) == message
    assert "c2" not in "".join(traceback.format_exception(raised.value))


class TestFromAFile:
    def test_one_and_several(self, tmp_path: Path) -> None:
        (tmp_path / "one").write_text(f"{TEXT}\n")
        (tmp_path / "many").write_text(f"{TEXT}\r\nother\n")
        table = {"password_file": "one", "several_file": "many", "keys": {"a": {"secret_file": "one"}}}
        options = structure(table, Options, folder=tmp_path)
        assert (options.password, options.several) == (TEXT, (TEXT, "other"))
        assert options.keys["a"].secret == TEXT

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ({"password_file": "none"}, "none: password_file: can't be read: No such file or directory"),
            ({"password_file": "empty"}, "empty: password_file: it is empty"),
            ({"password_file": 5}, "password_file: expected a file name"),
            ({"password_file": "odd"}, "password_file: ... has an odd number of characters"),
            ({"password_file": "odd", "password": TEXT}, "password_file: password is given as well"),
            ({"keys_file": "odd"}, "keys_file: unknown key"),
            ({"pasword_file": "odd"}, "pasword_file: unknown key; did you mean 'password_file'?"),
        ],
    )
    def test_what_is_wrong(self, tmp_path: Path, table: Mapping[str, Any], message: str) -> None:
        (tmp_path / "odd").write_text(TEXT + "x")
        (tmp_path / "empty").write_text("\n")
        assert message in mistakes(table, tmp_path)


@attrs.frozen
class Indiscreet(Plugin):
    """Its `prepare` raises with what it should keep to itself."""

    password: Secret
    error: type[Exception] = attrs.field(default=LookupError)

    def prepare(self, context: Context) -> Handler:
        raise self.error(f"no account has {self.password}")


@pytest.mark.parametrize("error", [LookupError, PluginError])
def test_neither_does_what_a_plugin_raises(error: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    instance = Instance.of(Indiscreet(Secret(TEXT), error))
    with pytest.raises(PluginError, match=r"no account has \.\.\.") as raised:
        prepare(instance)
    failed(instance, raised.value)
    assert "the plugin can't start" in caplog.text
    assert TEXT not in caplog.text

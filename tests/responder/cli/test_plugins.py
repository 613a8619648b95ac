"""`responderd plugins`: what is installed, and one plugin's options and keys."""

from __future__ import annotations

import json

import pytest

from ..conftest import Install
from .support import Write, call

pytestmark = pytest.mark.usefixtures("alpha")


def test_plugins_lists_those_that_can_not_be_loaded_too(install: Install) -> None:
    long_reason = "x" * 300
    install("gamma", f"raise RuntimeError('{long_reason}')", broken="X")
    rows = {row["name"]: row for row in json.loads(call("plugins", "--json").stdout)}
    assert list(rows) == sorted(rows)
    assert {"broken", "echo", "sign", "two", "whoami"} <= set(rows)
    assert long_reason in rows["broken"]["error"]
    assert rows["sign"] == {
        "name": "sign",
        "distribution": "alpha",
        "version": "1.2",
        "summary": "Shows a [bold]sign[/bold] :smile:.",
        "services": [
            {
                "name": "default",
                "port": 7007,
                "groups": ["ff02::7007"],
                "hop_limit": None,
                "udp": True,
                "tcp": True,
                "shared": False,
            }
        ],
        "error": None,
    }
    table = call("plugins").stdout
    assert f"can't be loaded: plugin 'broken' of gamma 1.2 can't be imported: RuntimeError: {long_reason}" in table
    assert "Shows a [bold]sign[/bold] :smile:." in table
    assert "7007/udp+tcp ff02::7007" in table


def test_plugins_of_one_name_tells_options_and_keys() -> None:
    found = json.loads(call("plugins", "sign", "--json").stdout)
    rows = [tuple(option.values()) for option in found["options"]]
    assert set(map(tuple, found["options"])) == {("name", "type", "required", "default", "description")}
    assert rows == [
        ("zone", "file name", True, None, "what it shows"),
        ("colour", "'red'", False, "red", ""),
        ("address", "IPv4 address", False, "192.0.2.1", ""),
        ("words", "table of arrays of integers", False, {}, ""),
    ]
    keys = {key["name"]: key for key in found["keys"]}
    assert (keys["port"]["type"], keys["port"]["default"]) == ("port (0..65535)", 7007)
    assert keys["allow"]["description"] == "prefixes of the peers that may ask; none: all"
    assert keys["groups"]["default"] == ["ff02::7007"]
    assert "ports" not in keys
    table = call("plugins", "sign").stdout
    assert table.startswith("sign (alpha 1.2): Shows a [bold]sign[/bold] :smile:.\n")
    assert ["zone", "file", "name", "required", "what", "it", "shows"] in [line.split() for line in table.splitlines()]
    several = {key["name"] for key in json.loads(call("plugins", "two", "--json").stdout)["keys"]}
    assert "ports" in several
    assert "port" not in several


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_plugins_of_an_unknown_name(arguments: list[str]) -> None:
    result = call("plugins", "sgn", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: no plugin 'sgn' is installed; did you mean 'sign'?")


def test_an_example_of_a_plugin(write: Write) -> None:
    result = call("plugins", "sign", "--example")
    assert result.exit_code == 0
    assert result.stdout.startswith("# Shows a [bold]sign[/bold] :smile:.\n[plugins.sign]\n")
    assert '\n# what it shows (file name)\nzone = "file"\n' in result.stdout
    file = write(result.stdout)
    (file.parent / "file").touch()
    assert call("check", file).exit_code == 0
    assert call("plugins", "--example").exit_code == 2


def test_the_keys_of_tables_in_options_are_told_too() -> None:
    found = json.loads(call("plugins", "ssdp", "--json").stdout)
    assert "friendly_name" in [key["name"] for key in found["tables"]["devices"]]
    assert "key of devices" in call("plugins", "ssdp").stdout

"""The public names: all there, and those that cost something imported when they are asked for."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import responder


@pytest.mark.parametrize("name", responder.__all__)
def test_each_is_there(name: str) -> None:
    assert getattr(responder, name) is not None
    assert name in dir(responder)


def test_the_version_is_that_of_the_distribution() -> None:
    assert responder.__version__ == version("responderd")


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'responder' has no attribute 'nothing'"):
        responder.nothing  # type: ignore[attr-defined] # so it is  # noqa: B018 - reading it raises


def test_only_those_who_embed_pay_for_the_server() -> None:
    code = (
        "import responder, sys\n"
        "print(sorted({'importlib.metadata', 'cattrs', 'trio'} & set(sys.modules)))\n"
        "responder.serve\n"
        "print('trio' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\nTrue\n"

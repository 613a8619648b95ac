"""trio as a guest of asyncio: what goes wrong reaches the asyncio program as it is."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
from pathlib import Path
from types import ModuleType

import pytest
from responder_plugins.echo import Echo

from responder import ConfigErrors


@pytest.fixture
def example() -> ModuleType:
    file = Path(__file__).parents[2] / "examples" / "in_asyncio.py"
    spec = importlib.util.spec_from_file_location("in_asyncio", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_wrong_key_is_told(example: ModuleType) -> None:
    async def program() -> None:
        async with example.serve_in_asyncio(Echo(), prot=7):
            pass

    with pytest.raises(ConfigErrors, match="unknown key"):
        asyncio.run(program())


def test_a_port_that_is_taken_is_told(example: ModuleType) -> None:
    async def program(port: int) -> None:
        async with example.serve_in_asyncio(Echo(), port=port):
            pass

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(ExceptionGroup, match="ports can't be had"):
            asyncio.run(program(other.getsockname()[1]))


def test_the_bodys_exception_comes_out_and_all_has_ended(example: ModuleType) -> None:
    async def program() -> None:
        async with example.serve_in_asyncio(Echo(), port=0):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(program())

"""`loopback`: one plugin on real sockets."""

from __future__ import annotations

import socket
from typing import ClassVar

import attrs
import pytest

from responder import Answer, Datagram, Plugin, Service
from responder.testing import NoAnswer, loopback
from tests.responder.testing.plugins import Echo, Late, Silent


@attrs.frozen
class Two(Plugin):
    """Says which service was asked, or fails."""

    services: ClassVar = (Service(port=53, name="one", groups=["239.255.70.7"]), Service(port=123, name="two"))

    def respond(self, request: Datagram) -> Answer:
        if not request.payload:
            raise LookupError("nothing")
        return f"{request.service} at {request.destination}".encode()


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.ipv6)])
async def test_it_answers_at_a_free_port_of_the_loopback_address(address: str) -> None:
    async with loopback(Echo(), address=address) as at:
        assert at.port() not in (0, 7007)
        assert await at.ask(b"hi") == b"hi"
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, at.port()))  # it is free again


async def test_services_have_a_port_each_and_groups_are_left_out() -> None:
    async with loopback(Two()) as at:
        assert await at.ask(b"x", service="one") == b"one at 127.0.0.1"
        assert await at.ask(b"x", service="two") == b"two at 127.0.0.1"
    async with loopback(Late(least=0.0, most=0.0)) as at:
        assert await at.ask(b"x") == b"late"


async def test_silence_and_failures_are_told() -> None:
    async with loopback(Silent()) as at:
        with pytest.raises(NoAnswer, match=r"no answer from 127\.0\.0\.1"):
            await at.ask(b"x", within=0.01)
    async with loopback(Two()) as at:
        with pytest.raises(LookupError, match="nothing"):
            await at.ask(b"", service="one", within=0.5)

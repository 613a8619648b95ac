"""Fixtures of the socket layer's tests: this machine's platform, and a host with two links to a client."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest

from responder.net import platform as this_platform
from responder.net.types import Platform
from tests.lab.namespaces import Lab, Namespace

from .support import PlatformIn


@pytest.fixture
def platform() -> Platform:
    return this_platform()


@attrs.define
class Links:
    """`host` and `client`, linked twice (link1, link2); all of fe80::1 (host) and fe80::9 (client) on both links.

    host     link1 10.71.0.1, 10.71.0.2, fd71::1; link2 10.72.0.1, fd72::1; lo 10.99.0.1, fd99::1
    client   link1 10.71.0.9, fd71::9; link2 10.72.0.9, fd72::9; its default route is the host on link1
    """

    host: Namespace
    client: Namespace
    host_platform: PlatformIn
    client_platform: PlatformIn


@pytest.fixture
def links(platform: Platform) -> Iterator[Links]:
    with Lab() as lab:
        host, client = lab.namespace("host"), lab.namespace("client")
        lab.link(host, "link1", client, "link1")
        lab.link(host, "link2", client, "link2")
        host.ip(
            "addr add 10.71.0.1/24 dev link1",
            "addr add 10.71.0.2/24 dev link1",
            "addr add fd71::1/64 dev link1 nodad",
            "addr add fe80::1/64 dev link1 nodad",
            "addr add 10.72.0.1/24 dev link2",
            "addr add fd72::1/64 dev link2 nodad",
            "addr add fe80::1/64 dev link2 nodad",
            "addr add 10.99.0.1/32 dev lo",
            "addr add fd99::1/128 dev lo nodad",
        )
        client.ip(
            "addr add 10.71.0.9/24 dev link1",
            "addr add fd71::9/64 dev link1 nodad",
            "addr add fe80::9/64 dev link1 nodad",
            "addr add 10.72.0.9/24 dev link2",
            "addr add fd72::9/64 dev link2 nodad",
            "addr add fe80::9/64 dev link2 nodad",
            "route add default via 10.71.0.1",
            "route add default via fd71::1",
        )
        yield Links(host, client, PlatformIn(platform, host), PlatformIn(platform, client))

from __future__ import annotations

import pytest

from responder.config.endpoint import Endpoint


@pytest.mark.parametrize("text", ["127.0.0.1:9153", "[::1]:9153", ":9153", "0.0.0.0:0", "[::]:65535"])
def test_an_endpoint_reads_as_it_is_written(text: str) -> None:
    assert str(Endpoint.parse(text)) == text


def test_localhost_is_this_hosts_loopback() -> None:
    assert str(Endpoint.parse("localhost:9153")) == "127.0.0.1:9153"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9153",
        "127.0.0.1",
        "127.0.0.1:",
        ":65536",
        ":-1",
        ":٣",
        "::1:9153",
        "[127.0.0.1]:1",
        "[fe80::1%eth0]:1",
        "host:1",
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Endpoint.parse(text)

"""Opening ports on Windows, at the foreign-function border: what the Windows of our tests can't be made to do.

IPv4 switched off, IPv6 missing, options refused.  What it can do is shown on it, in tests/windows/native.
"""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from responder.errors import BindError, SendError
from responder.net.types import Route
from responder.net.windows.winsock_types import (
    AF_INET,
    AF_INET6,
    IP_HOPLIMIT,
    IP_MTU_DISCOVER,
    IP_PKTINFO,
    IP_PMTUDISC_DONT,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_HOPLIMIT,
    IPV6_MTU_DISCOVER,
    IPV6_PKTINFO,
    IPV6_V6ONLY,
    SIO_UDP_CONNRESET,
    SIO_UDP_NETRESET,
    SO_EXCLUSIVEADDRUSE,
    SO_REUSEADDR,
    SOL_SOCKET,
)

from .fake_winsock import FakeSocket, unpack_sockaddr
from .windows_host import Host


def test_options_come_before_the_bind() -> None:
    host = Host()
    host.open_udp(7007)
    (sock,) = host.sockets
    assert sock.log[-1] == ("bind", ("::", 7007, 0, 0))
    assert ("blocking", False) in sock.log
    assert sock.option(IPPROTO_IPV6, IPV6_V6ONLY) == [0]
    assert sock.option(IPPROTO_IPV6, IPV6_PKTINFO) == [1]
    assert sock.option(IPPROTO_IP, IP_PKTINFO) == [1]
    assert host.winsock.ioctls == [(SIO_UDP_CONNRESET, bytes(4)), (SIO_UDP_NETRESET, bytes(4))]


def test_a_port_of_ones_own_is_exclusive() -> None:
    host = Host()
    host.open_udp(7007)
    assert host.sockets[0].option(SOL_SOCKET, SO_EXCLUSIVEADDRUSE) == [1]
    assert host.sockets[0].option(SOL_SOCKET, SO_REUSEADDR) == []


def test_a_shared_port_is_not_exclusive(caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    host.open_udp(1900, shared=True)
    sock, probe = host.sockets
    assert sock.option(SOL_SOCKET, SO_REUSEADDR) == [1]
    assert sock.option(SOL_SOCKET, SO_EXCLUSIVEADDRUSE) == []
    assert probe.option(SOL_SOCKET, SO_EXCLUSIVEADDRUSE) == [1]
    assert (probe.closed, sock.closed) == (1, 0)
    assert "shared" not in caplog.text


def test_a_shared_address_meets_anothers_wildcard(caplog: pytest.LogCaptureFixture) -> None:
    """They may be bound side by side, and then share what comes: a probe of the address alone sees nothing."""
    host = Host(bind_errors={("::", 1900, 0, 0): 10048})
    host.open_udp(1900, ip_address("10.71.0.1"), shared=True)
    assert [sock.closed for sock in host.sockets] == [0, 1, 1]
    assert "shared" in caplog.text


def test_a_shared_address_beside_another_address_is_alone(caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    host.open_udp(1900, ip_address("10.71.0.1"), shared=True)
    assert "shared" not in caplog.text


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("10.71.0.1", ("::ffff:10.71.0.1", 7007, 0, 0)),
        ("fd71::1", ("fd71::1", 7007, 0, 0)),
        ("fe80::1", ("fe80::1", 7007, 0, 3)),
    ],
)
def test_an_address_is_bound_alone(address: str, name: tuple[object, ...]) -> None:
    host = Host()
    sock = host.open_udp(7007, ip_address(address), interface=3)
    assert host.sockets[0].log[-1] == ("bind", name)
    assert sock.address == ip_address(address)


def test_without_ipv6_the_socket_is_an_ipv4_one() -> None:
    host = Host(families=(AF_INET,))
    sock, fake = host.open()
    (opened,) = host.sockets
    assert opened.family == AF_INET
    assert opened.log[-1] == ("bind", ("", 7007))
    assert not [entry for entry in opened.log if entry[:2] == ("option", IPPROTO_IPV6)]
    sock.send([(b"x", Route(ip_address("10.71.0.9"), source=ip_address("10.71.0.1")), 53)])
    assert unpack_sockaddr(fake.sent[0].name) == (ip_address("10.71.0.9"), 53, 0)
    with pytest.raises(SendError, match="IPv4 socket"):
        sock.send([(b"x", Route(ip_address("fd71::9")), 53)])
    with pytest.raises(BindError, match="no IPv6"):
        host.open_udp(7007, ip_address("fd71::1"))


def test_with_ipv4_switched_off_its_options_may_fail() -> None:
    host = Host(families=(AF_INET6,), refused_level={IPPROTO_IP: 10022})
    host.open_udp(7007)
    assert host.sockets[0].closed == 0


def test_with_ipv4_there_its_options_may_not_fail() -> None:
    host = Host(refused_level={IPPROTO_IP: 10022})
    with pytest.raises(BindError):
        host.open_udp(7007)
    assert all(sock.closed for sock in host.sockets)


def test_another_failure_is_not_taken_for_ipv4_switched_off() -> None:
    with pytest.raises(BindError):
        Host(families=(AF_INET6,), refused_level={IPPROTO_IP: 10042}).open_udp(7007)


def test_answers_may_go_in_fragments_where_the_system_has_the_option() -> None:
    """Pitfall 17."""
    host = Host()
    host.open_udp(7007)
    assert host.sockets[0].option(IPPROTO_IP, IP_MTU_DISCOVER) == [IP_PMTUDISC_DONT]
    assert host.sockets[0].option(IPPROTO_IPV6, IPV6_MTU_DISCOVER) == [IP_PMTUDISC_DONT]
    Host(refused={(IPPROTO_IP, IP_MTU_DISCOVER): 10042, (IPPROTO_IPV6, IPV6_MTU_DISCOVER): 10042}).open_udp(7007)


class Restarted(Host):
    """Connections of the last run live, so that an exclusive bind is refused with this code."""

    code = 10048

    def _open(self, family: int, kind: int) -> FakeSocket:
        sock = super()._open(family, kind)
        sock.exclusive_error = self.code
        return sock


@pytest.mark.parametrize("code", [10048, 10013])
def test_a_tcp_port_is_had_again_after_a_restart(code: int) -> None:
    host = Restarted()
    host.code = code
    host.open_tcp(7007)
    refused, bound = host.sockets
    assert (refused.closed, bound.closed) == (1, 0)
    assert bound.option(SOL_SOCKET, SO_EXCLUSIVEADDRUSE) == []
    assert bound.option(SOL_SOCKET, SO_REUSEADDR) == []
    assert ("listen", 1024) in bound.log


def test_a_tcp_port_is_exclusive_where_it_can_be() -> None:
    host = Host()
    host.open_tcp(7007)
    (sock,) = host.sockets
    assert sock.option(SOL_SOCKET, SO_EXCLUSIVEADDRUSE) == [1]


def test_a_tcp_port_that_is_taken_is_refused() -> None:
    host = Host(bind_error=10048)
    with pytest.raises(BindError, match="TCP port 7007 is taken"):
        host.open_tcp(7007)
    assert [sock.closed for sock in host.sockets] == [1, 1]


@pytest.mark.parametrize(("port", "hint"), [(7007, False), (53, True)])
def test_a_reserved_port_says_where_to_look(port: int, hint: bool) -> None:
    with pytest.raises(BindError) as caught:
        Host(bind_error=10013).open_udp(port)
    assert "netsh int ipv4 show excludedportrange udp" in str(caught.value)
    assert ("Internet Connection Sharing" in str(caught.value)) is hint


def test_hop_limits_need_not_be_told() -> None:
    Host(refused={(IPPROTO_IP, IP_HOPLIMIT): 10042, (IPPROTO_IPV6, IPV6_HOPLIMIT): 10042}).open_udp(7007)


def test_the_second_reset_ioctl_may_be_refused_and_the_first_may_not() -> None:
    host = Host()
    host.winsock.ioctl_answers = {SIO_UDP_NETRESET: 10045}
    host.open_udp(7007)
    host.winsock.ioctl_answers = {SIO_UDP_CONNRESET: 10045}
    with pytest.raises(BindError):
        host.open_udp(7007)
    assert host.sockets[-1].closed == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (10048, "UDP port 7007 on 10.9.9.9 is taken"),
        (10013, "doesn't share"),
        (10049, "not an address of this host"),
        (10055, "10055"),
    ],
)
def test_a_refused_bind_says_why_and_leaves_nothing_open(code: int, words: str) -> None:
    host = Host(bind_error=code)
    with pytest.raises(BindError, match=words) as caught:
        host.open_udp(7007, ip_address("10.9.9.9"))
    assert caught.value.port == 7007
    assert host.sockets[0].closed == 1


def test_a_shared_port_that_is_taken_is_told(caplog: pytest.LogCaptureFixture) -> None:
    host = Host(bind_error=10048)
    with caplog.at_level("WARNING"), pytest.raises(BindError):
        host.open_udp(1900, shared=True)
    assert "shared" in caplog.text

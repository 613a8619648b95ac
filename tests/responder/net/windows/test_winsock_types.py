"""Winsock's structures and numbers, held against mingw-w64's headers: compiled, not linked, for 64 and 32 bit."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.net import cmsg
from responder.net.windows import winsock_types as types
from tests.requirements import required

from .fake_winsock import unpack_sockaddr

COMPILERS = {8: "x86_64-w64-mingw32-gcc", 4: "i686-w64-mingw32-gcc"}
INCLUDES = ["winsock2.h", "ws2tcpip.h", "mswsock.h", "mstcpip.h", "windows.h", "iphlpapi.h"]
WHOLE = ["WSABUF", "WSAMSG", "WSAOVERLAPPED", "SOCKET_ADDRESS"]
BEGINNINGS = ["IP_ADAPTER_UNICAST_ADDRESS", "IP_ADAPTER_ADDRESSES"]
HEADER_NAMES = {
    "IP_ADAPTER_ADDRESSES": "IP_ADAPTER_ADDRESSES_LH",
    "IP_ADAPTER_UNICAST_ADDRESS": "IP_ADAPTER_UNICAST_ADDRESS_LH",
}
CONSTANTS = [
    name for name in vars(types) if re.match(r"(AF|SO|SOL|IP|IPV6|IPPROTO|MCAST|MSG|SIO)_[A-Z0-9_]+$|SOL_", name)
]


def claims(pointer: int) -> Iterator[tuple[str, int]]:
    """C expressions with the values that we believe them to have."""
    layout = types.Layout(pointer)
    for name in WHOLE + BEGINNINGS:
        structure = getattr(layout, name)
        header_name = HEADER_NAMES.get(name, name)
        if name in WHOLE:
            yield f"sizeof({header_name})", ctypes.sizeof(structure)
        for field, *_ in structure._fields_:
            yield f"offsetof({header_name}, {field})", getattr(structure, field).offset
            yield f"sizeof((({header_name} *)0)->{field})", getattr(structure, field).size
    abi = cmsg.WINDOWS_64 if pointer == 8 else cmsg.WINDOWS_32
    for size in (0, 1, 4, 8, 20, 21):
        yield f"WSA_CMSG_SPACE({size})", len(abi.encode([(0, 0, bytes(size))]))
        yield f"WSA_CMSG_LEN({size})", abi.length(size)
    yield "sizeof(IN_PKTINFO)", len(cmsg.pack_in_pktinfo_windows(IPv4Address(1), 1))
    yield "offsetof(IN_PKTINFO, ipi_addr)", 0
    yield "offsetof(IN_PKTINFO, ipi_ifindex)", 4
    yield "sizeof(IN6_PKTINFO)", len(cmsg.pack_in6_pktinfo(IPv6Address(1), 1))
    yield "offsetof(IN6_PKTINFO, ipi6_addr)", 0
    yield "offsetof(IN6_PKTINFO, ipi6_ifindex)", 16
    yield "sizeof(SOCKADDR_IN6)", types.SOCKADDR_IN6_SIZE
    yield "offsetof(SOCKADDR_IN6, sin6_port)", 2
    yield "offsetof(SOCKADDR_IN6, sin6_addr)", 8
    yield "offsetof(SOCKADDR_IN6, sin6_scope_id)", 24
    yield "sizeof(SOCKADDR_IN)", types.SOCKADDR_IN_SIZE
    yield "offsetof(SOCKADDR_IN, sin_addr)", 4
    yield "sizeof(IP_MREQ)", len(types.pack_ip_mreq(IPv4Address(1), IPv4Address(2)))
    yield "offsetof(IP_MREQ, imr_interface)", 4
    yield "sizeof(IP_MREQ_SOURCE)", len(types.pack_ip_mreq(IPv4Address(1), IPv4Address(2), IPv4Address(3)))
    yield "offsetof(IP_MREQ_SOURCE, imr_sourceaddr)", 4
    yield "offsetof(IP_MREQ_SOURCE, imr_interface)", 8
    yield "sizeof(IPV6_MREQ)", len(types.pack_ipv6_mreq(IPv6Address(1), 1))
    yield "offsetof(IPV6_MREQ, ipv6mr_interface)", 16
    yield "sizeof(GROUP_REQ)", len(types.pack_group_req(3, IPv6Address(1)))
    yield "offsetof(GROUP_REQ, gr_group)", 8
    yield "sizeof(GROUP_SOURCE_REQ)", len(types.pack_group_req(3, IPv6Address(1), IPv6Address(2)))
    yield "offsetof(GROUP_SOURCE_REQ, gsr_group)", 8
    yield "offsetof(GROUP_SOURCE_REQ, gsr_source)", 136
    yield "sizeof(struct { USHORT Rtt; UCHAR MaxSynRetransmissions; })", len(types.TCP_INITIAL_RTO_ONCE)
    for name in CONSTANTS:
        yield f"(unsigned){name}", getattr(types, name) & 0xFFFFFFFF


def compiler(pointer: int) -> str:
    found = shutil.which(COMPILERS[pointer])
    if found is None:
        outcome = pytest.fail if "windows" in required() else pytest.skip
        outcome(f"{COMPILERS[pointer]} is missing (Debian: gcc-mingw-w64-{'i686' if pointer == 4 else 'x86-64'}-win32)")
    return found


@pytest.mark.windows
@pytest.mark.parametrize("pointer", [8, 4])
def test_the_headers_agree(pointer: int, tmp_path: Path) -> None:
    believed = dict(claims(pointer))
    assert {"WSA_CMSG_SPACE(20)", "sizeof(WSAMSG)", "(unsigned)SIO_UDP_NETRESET"} <= set(believed)
    lines = [f"#include <{name}>" for name in INCLUDES]
    lines += [
        "#include <stddef.h>",
        # What mingw-w64 lacks, as the Windows SDK has it.
        "#ifndef IP_MTU_DISCOVER",
        "#define IP_MTU_DISCOVER 71",
        "#define IPV6_MTU_DISCOVER 71",
        "#define IP_PMTUDISC_DONT 2",
        "#endif",
        "#ifndef SIO_TCP_INITIAL_RTO",
        "#define SIO_TCP_INITIAL_RTO _WSAIOW(IOC_VENDOR, 17)",
        "#endif",
        "#ifndef SIO_UDP_NETRESET",
        "#define SIO_UDP_NETRESET _WSAIOW(IOC_VENDOR, 15)",
        "#endif",
    ]
    lines += [f'_Static_assert(({expression}) == {value}u, "{expression}");' for expression, value in believed.items()]
    source = tmp_path / "layout.c"
    source.write_text("\n".join(lines))
    done = subprocess.run(
        [compiler(pointer), "-D_WIN32_WINNT=0x0A00", "-Wno-sign-compare", "-c", source, "-o", tmp_path / "layout.o"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.windows
@pytest.mark.parametrize("name", ["WSAID_WSASENDMSG", "WSAID_WSARECVMSG"])
def test_the_headers_have_our_guids(name: str, tmp_path: Path) -> None:
    source = tmp_path / "guid.c"
    source.write_text("#include <winsock2.h>\n#include <mswsock.h>\n")
    macros = subprocess.run([compiler(8), "-E", "-dM", source], capture_output=True, text=True, timeout=60, check=True)
    found = re.search(rf"#define {name} (.*)", macros.stdout)
    assert found
    a, b, c, *rest = (int(number, 16) for number in re.findall(r"0x[0-9a-f]+", found[1]))
    assert uuid.UUID(fields=(a, b, c, rest[0], rest[1], int.from_bytes(bytes(rest[2:]), "big"))) == getattr(types, name)


@pytest.mark.parametrize(("pointer", "sizes"), [(8, (56, 16, 32)), (4, (28, 8, 20))])
def test_the_known_sizes(pointer: int, sizes: tuple[int, ...]) -> None:
    layout = types.Layout(pointer)
    structures = layout.WSAMSG, layout.WSABUF, layout.WSAOVERLAPPED
    assert tuple(map(ctypes.sizeof, structures)) == sizes


V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
V6 = st.integers(0, 2**128 - 1).map(IPv6Address)
PORT = st.integers(0, 65535)


@given(address=V6, port=PORT, scope=st.integers(0, 2**32 - 1))
def test_an_ipv6_socket_address_goes_round(address: IPv6Address, port: int, scope: int) -> None:
    name = types.pack_sockaddr(address, port, scope, family=types.AF_INET6)
    assert unpack_sockaddr(name) == (address, port, scope)


@given(address=V4, port=PORT)
def test_an_ipv4_socket_address_goes_round(address: IPv4Address, port: int) -> None:
    assert unpack_sockaddr(types.pack_sockaddr(address, port, family=types.AF_INET)) == (address, port, 0)
    mapped = types.pack_sockaddr(address, port, family=types.AF_INET6)
    assert unpack_sockaddr(mapped) == (ip_address(f"::ffff:{address}"), port, 0)


def test_an_ipv6_address_does_not_fit_an_ipv4_socket() -> None:
    with pytest.raises(ValueError, match="IPv4 socket"):
        types.pack_sockaddr(IPv6Address("::1"), 1, family=types.AF_INET)

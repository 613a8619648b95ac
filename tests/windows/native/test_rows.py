"""WSASendMsg's page, row by row, on the foreign functions themselves; tests/windows/README.md has the table."""

from __future__ import annotations

import ctypes
import socket
import sys
import uuid
from collections.abc import Callable

import pytest

from responder.errors import MessageTooLong, NetworkError, SendError
from responder.net.windows.winsock_errors import WSA_IO_PENDING
from responder.net.windows.winsock_types import NATIVE, SO_MAX_MSG_SIZE, SOL_SOCKET, WSAID_WSARECVMSG, WSAID_WSASENDMSG
from tests.responder.net.windows import overlapped
from tests.responder.net.windows.whole_winsock import (
    MSG_DONTROUTE,
    MSG_OOB,
    MSG_PARTIAL,
    MSG_PEEK,
    Outgoing,
    receive_message,
    send_message,
    send_with_routine,
)

assert sys.platform == "win32"  # type checkers elsewhere skip the rest

from .support import AF_INET, Socket, from_v4, from_v6, only_on_wine, overlapped_with_event  # noqa: E402 - exists there only
from .whole_native import WholeNative  # noqa: E402 - the same

Open = Callable[..., Socket]
WAIT_IO_COMPLETION = 0xC0


def test_row_1_pointers_are_fetched_by_guid(open_socket: Open) -> None:
    winsock = open_socket().winsock
    pointers = {winsock._extension(identifier) for identifier in (WSAID_WSASENDMSG, WSAID_WSARECVMSG)}
    assert len(pointers) == 2
    assert 0 not in pointers
    with pytest.raises(NetworkError):
        winsock._extension(uuid.UUID(int=1))


def test_row_2_connected_and_unconnected(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    with pytest.raises(SendError, match="WSAENOTCONN"):
        send_message(one.winsock, [b"nowhere"], b"", from_v6("::1"))
    one.socket.connect(("::1", other.port))
    assert send_message(one.winsock, [b"connected"]) == 9
    assert other.received()[0] == b"connected"


def test_row_2_a_stream_is_refused() -> None:
    with socket.socket() as listener, socket.socket() as stream:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        stream.connect(listener.getsockname())
        with pytest.raises(SendError, match="WSAEINVAL"):
            send_message(WholeNative(stream.fileno()), [b"x"])


def test_row_3_several_buffers_are_one_datagram_and_the_messages_flags_are_ignored(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    outgoing = Outgoing([b"a", b"", b"bc" * 100, b"d"], one.name_of(other, "::1"), from_v6("::1"))
    outgoing.message.dwFlags = 0xFFFF
    assert one.winsock.send_message_with(outgoing.address, 0, outgoing.sent_address, 0, 0) == 0
    assert outgoing.sent == 202
    assert other.received()[0] == b"a" + b"bc" * 100 + b"d"


@pytest.mark.parametrize("part", ["name", "control"])
def test_row_4_null_needs_length_0(open_socket: Open, part: str) -> None:
    one, other = open_socket(), open_socket()
    outgoing = Outgoing([b"x"], one.name_of(other, "::1"), from_v6("::1"))
    if part == "name":
        outgoing.message.name = 0
    else:
        outgoing.message.Control.buf = 0
    assert one.winsock.send_message_with(outgoing.address, 0, outgoing.sent_address, 0, 0) == 10014


def test_row_4_ours_never_has_one_without_the_other(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    assert send_message(one.winsock, [b"x"], one.name_of(other, "::1")) == 1
    assert other.received()[0] == b"x"


@pytest.mark.parametrize("flag", [MSG_OOB, MSG_PARTIAL, MSG_PEEK, 0x10000])
def test_row_5_flags_that_are_not_valid(open_socket: Open, flag: int) -> None:
    one, other = open_socket(), open_socket()
    with pytest.raises(SendError, match="WSAEOPNOTSUPP"):
        send_message(one.winsock, [b"x"], one.name_of(other, "::1"), from_v6("::1"), flag)
    assert other.has_nothing()


def test_row_5_dontroute(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    assert send_message(one.winsock, [b"x"], one.name_of(other, "::1"), b"", MSG_DONTROUTE) == 1
    assert other.received()[0] == b"x"


@pytest.mark.parametrize("control", [b"", from_v4("127.0.0.7")], ids=["plain", "source"])
def test_row_8_the_longest_datagram(open_socket: Open, control: bytes) -> None:
    one, other = open_socket(AF_INET), open_socket(AF_INET)
    longest = one.socket.getsockopt(SOL_SOCKET, SO_MAX_MSG_SIZE)
    assert longest == 65507
    name = one.name_of(other, "127.0.0.1")
    with pytest.raises(MessageTooLong, match="65508 bytes"):
        send_message(one.winsock, [bytes(longest), b"x"], name, control)
    assert other.has_nothing()
    assert send_message(one.winsock, [bytes(longest)], name, control) == longest
    assert len(other.received()[0]) == longest


def test_row_8_an_empty_datagram(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    assert send_message(one.winsock, [b""], one.name_of(other, "::1"), from_v6("::1")) == 0
    assert other.received()[0] == b""


def test_row_9_success_is_not_delivery(open_socket: Open) -> None:
    one, gone = open_socket(), open_socket()
    name = one.name_of(gone, "::1")
    gone.close()
    assert send_message(one.winsock, [b"x"], name, from_v6("::1")) == 1


def test_row_11_the_count_may_be_null_only_when_overlapped(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    outgoing = Outgoing([b"x"], one.name_of(other, "::1"))
    assert one.winsock.send_message_with(outgoing.address, 0, 0, 0, 0) == 10014


def sleep_alertably() -> int:
    return int(ctypes.WinDLL("kernel32").SleepEx(0, True))


def test_row_14_a_routine_runs_in_an_alertable_wait_and_nowhere_else(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    name = one.name_of(other, "::1")
    ran: list[tuple[str, int, int]] = []
    depth = 0

    def routine(text: str) -> Callable[[int, int], None]:
        def run(code: int, size: int) -> None:
            nonlocal depth
            assert depth == 0, "routines don't nest"
            depth += 1
            ran.append((text, code, size))
            if text == "two":  # a send inside a routine
                send_with_routine(one.winsock, Outgoing([b"inside"], name), routine("inside"))
            depth -= 1

        return run

    for text in ("one", "two", "three"):
        send_with_routine(one.winsock, Outgoing([text.encode()], name), routine(text))
    assert ran == []
    assert sleep_alertably() == WAIT_IO_COMPLETION
    # All that waited have run before the wait returned; they may run in any order.
    assert sorted(ran) == [("inside", 0, 6), ("one", 0, 3), ("three", 0, 5), ("two", 0, 3)]
    assert [other.received()[0] for _ in range(4)] == [b"one", b"two", b"three", b"inside"]
    assert not overlapped.in_flight


def test_row_10_a_completion_by_an_event(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    outgoing = Outgoing([b"event"], one.name_of(other, "::1"))
    with overlapped_with_event() as (own, is_set):
        address = ctypes.addressof(own)
        assert one.winsock.send_message_with(outgoing.address, 0, 0, address, 0) in (0, WSA_IO_PENDING)
        assert is_set()
        assert one.winsock.overlapped_result(address) == (0, 5)
    assert other.received()[0] == b"event"


def test_row_14_a_routine_gets_no_flags_and_h_event_is_free(open_socket: Open) -> None:
    """What stands in hEvent is no handle: where it was looked at, the send would be refused."""
    one, other = open_socket(), open_socket()
    outgoing = Outgoing([b"x"], one.name_of(other, "::1"))
    ran: list[tuple[int, ...]] = []
    own = NATIVE.WSAOVERLAPPED()
    own.hEvent = 0x7007
    address = ctypes.addressof(own)
    routine, keep = one.winsock.routine(lambda *arguments: ran.append(arguments))
    assert one.winsock.send_message_with(outgoing.address, 0, 0, address, routine) in (0, WSA_IO_PENDING)
    assert sleep_alertably() == WAIT_IO_COMPLETION
    assert ran == [(0, 1, address, 0)]
    assert own.hEvent == 0x7007
    assert keep is not None  # the routine had to live until here


@only_on_wine
def test_row_14_control_data_and_a_routine(open_socket: Open) -> None:
    """Not offered by the kit's WSASendMsg, so this shows the refusal: typed, and nothing left behind."""
    one, other = open_socket(), open_socket()
    with pytest.raises(SendError, match="WSAEOPNOTSUPP"):
        send_with_routine(
            one.winsock, Outgoing([b"x"], one.name_of(other, "::1"), from_v6("::1")), lambda *_: pytest.fail("it ran")
        )
    sleep_alertably()
    assert not overlapped.in_flight


def test_row_17_windows_vista_or_newer() -> None:
    assert sys.getwindowsversion() >= (6, 0)


# The error table, as far as it can be provoked; test_winsock_errors.py has the rest, by table.


def test_a_broadcast_without_the_right(open_socket: Open) -> None:
    one, other = open_socket(AF_INET), open_socket(AF_INET)
    with pytest.raises(SendError, match="WSAEACCES"):
        send_message(one.winsock, [b"x"], one.name_of(other, "127.255.255.255"))


def test_after_shutdown(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    one.socket.connect(("::1", other.port))
    one.socket.shutdown(socket.SHUT_WR)
    with pytest.raises(SendError, match="WSAESHUTDOWN"):
        send_message(one.winsock, [b"x"])


def test_not_a_socket(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    name = one.name_of(other, "::1")
    one.close()
    with pytest.raises(SendError, match="WSAENOTSOCK"):
        send_message(one.winsock, [b"x"], name)


def test_truncation_arrives_as_an_error_and_is_told(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    send_message(one.winsock, [b"0123456789"], one.name_of(other, "::1"))
    payload, *_, truncated = receive_message(other.winsock, size=4)
    assert (payload, truncated) == (b"0123", True)


def test_peeking_leaves_the_datagram(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    send_message(one.winsock, [b"x"], one.name_of(other, "::1"))
    assert receive_message(other.winsock, flags=MSG_PEEK)[0] == b"x"
    assert receive_message(other.winsock)[0] == b"x"
    assert other.has_nothing()

"""What Winsock's error codes mean.

`send_error` makes the exception of a WSASendMsg that failed: one of the framework's kinds of `SendError`, with Windows'
code as `winerror` and, as Python does it, an `errno`.  `call_error` does that for other functions.

This file calls nothing: it can be read, and tested, on any platform.
"""

from __future__ import annotations

from typing import TypeVar

from ...errors import MessageTooLong, NetworkError, SendError, SendRefused, SourceUnavailable, Unreachable

WSA_OPERATION_ABORTED, WSA_IO_PENDING = 995, 997
WSAEINTR, WSAEACCES, WSAEFAULT, WSAEINVAL = 10004, 10013, 10014, 10022
WSAEWOULDBLOCK, WSAEINPROGRESS, WSAENOTSOCK, WSAEMSGSIZE, WSAENOPROTOOPT = 10035, 10036, 10038, 10040, 10042
WSAEOPNOTSUPP, WSAEAFNOSUPPORT, WSAEADDRNOTAVAIL = 10045, 10047, 10049
WSAENETDOWN, WSAENETUNREACH, WSAENETRESET, WSAECONNRESET, WSAENOBUFS = 10050, 10051, 10052, 10054, 10055
WSAENOTCONN, WSAESHUTDOWN, WSAETIMEDOUT, WSAECONNREFUSED, WSAEHOSTUNREACH = 10057, 10058, 10060, 10061, 10065
WSANOTINITIALISED = 10093

STALE = frozenset({WSAENETRESET, WSAECONNRESET, WSAECONNREFUSED})
"""What an earlier datagram's ICMP error says on a UDP socket: news of that one, not of the call that returned it."""

STALE_RECEIVE = STALE | {WSAENETUNREACH, WSAEHOSTUNREACH}
"""The same of a receive; a send may well mean itself by the others."""

SEND_CODES: dict[int, tuple[type[SendError], str]] = {
    WSA_OPERATION_ABORTED: (SendError, "WSA_OPERATION_ABORTED: the socket was closed before the datagram went"),
    WSA_IO_PENDING: (SendError, "WSA_IO_PENDING: an overlapped operation was started"),
    WSAEINTR: (SendError, "WSAEINTR: a blocking call was cancelled"),
    WSAEACCES: (SendError, "WSAEACCES: a broadcast address, and the socket lacks SO_BROADCAST"),
    WSAEFAULT: (SendError, "WSAEFAULT: a bad pointer, or a name of another family than the socket's"),
    WSAEINVAL: (SendError, "WSAEINVAL: the socket is not bound, or is a stream, or the control data is malformed"),
    WSAEWOULDBLOCK: (SendError, "WSAEWOULDBLOCK: no room now"),
    WSAEINPROGRESS: (SendError, "WSAEINPROGRESS: a blocking Winsock 1.1 call is under way"),
    WSAENOTSOCK: (SendError, "WSAENOTSOCK: the handle is no socket, or no longer"),
    WSAEMSGSIZE: (MessageTooLong, "WSAEMSGSIZE: longer than SO_MAX_MSG_SIZE"),
    WSAEOPNOTSUPP: (SendError, "WSAEOPNOTSUPP: a flag that is not valid here"),
    WSAENETDOWN: (SendRefused, "WSAENETDOWN: the network subsystem failed"),
    WSAENETUNREACH: (Unreachable, "WSAENETUNREACH: no route from here"),
    WSAENETRESET: (SendError, "WSAENETRESET: an earlier datagram's time to live ran out on the way"),
    WSAECONNRESET: (SendError, "WSAECONNRESET: an earlier datagram met a closed port"),
    WSAENOBUFS: (SendRefused, "WSAENOBUFS: the provider reports a buffer deadlock"),
    WSAENOTCONN: (SendError, "WSAENOTCONN: no destination was given, and the socket is not connected"),
    WSAESHUTDOWN: (SendError, "WSAESHUTDOWN: sending was shut down"),
    WSAETIMEDOUT: (SendRefused, "WSAETIMEDOUT: a blocking socket had no room for as long as SO_SNDTIMEO"),
    WSANOTINITIALISED: (SendError, "WSANOTINITIALISED: no WSAStartup"),
}
"""The table of WSASendMsg's page.  Other codes come too (10047, 10049 and 10065 were seen)."""

_SOURCE_CODES = frozenset({WSAEINVAL, WSAEADDRNOTAVAIL, WSAENETUNREACH})
"""What was seen where the source is no address of this host, or another interface's; no code is documented for it."""

_OF_C = frozenset({WSAEINTR, WSAEACCES, WSAEFAULT, WSAEINVAL})
"""10,000 more than C's errno, which stands for them; the rest keep their number (as Python's own table has it)."""

_E = TypeVar("_E", bound=NetworkError)


def send_error(code: int, what: str, *, source_given: bool = False) -> SendError:
    """The exception for a WSASendMsg that returned `code`; `what` names sizes and addresses: "5 bytes to [::1]:53"."""
    kind, meaning = SEND_CODES.get(code, (SendError, "a code that the function's page does not list"))
    if source_given and code in _SOURCE_CODES:
        kind, meaning = SourceUnavailable, "the source is no address of this host, or another interface's"
    return _make(kind, code, f"WSASendMsg of {what}: error {code} ({meaning})")


def call_error(code: int, function: str) -> NetworkError:
    """The exception for another function that returned `code`."""
    return _make(NetworkError, code, f"{function}: error {code}")


def _make(kind: type[_E], code: int, message: str) -> _E:
    error = kind(code % 10_000 if code in _OF_C else code, message)
    error.winerror = code  # type: ignore[attr-defined, unused-ignore]  # a field of OSError on Windows, an attribute here
    return error


def error_code(error: OSError) -> int:
    """Winsock's code of an exception, whether Python's `socket` raised it or we did."""
    return getattr(error, "winerror", None) or error.errno or 0

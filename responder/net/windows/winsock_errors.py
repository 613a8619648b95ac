"""What WSASendMsg's error codes mean: one exception class a code of its reference page, and who may try again.

Every class is an OSError with `winerror` (the code) and, as Python does it, `errno`; `retry` says whether the same
datagram may go through if it is sent again.  `error_for` chooses.  A code that the page doesn't list, and they do
come, makes an `UnlistedSendError`; one that other functions return makes a plain `WinsockError`.

This file refuses to call anything: it can be read, and tested, on any platform.
"""

from __future__ import annotations

import errno
from typing import ClassVar

from ...errors import MessageTooLong, NetworkError, SendError, SendRefused, SourceUnavailable, Unreachable

WSA_IO_PENDING, WSA_OPERATION_ABORTED = 997, 995
WSAEMFILE, WSAEWOULDBLOCK, WSAENOTSOCK, WSAEMSGSIZE, WSAENETRESET, WSAECONNRESET = (
    10024,
    10035,
    10038,
    10040,
    10052,
    10054,
)
WSAEINVAL, WSAENOPROTOOPT, WSAEAFNOSUPPORT, WSAEADDRINUSE, WSAENOBUFS = 10022, 10042, 10047, 10048, 10055
WSAECONNREFUSED, WSAENETUNREACH, WSAEHOSTUNREACH, WSAEADDRNOTAVAIL, WSAEACCES = 10061, 10051, 10065, 10049, 10013

STALE = frozenset({WSAENETRESET, WSAECONNRESET, WSAECONNREFUSED})
"""What an earlier datagram's ICMP error says on a UDP socket: news of that one, not of the call that returned it."""

# The codes that have a C errno of another number; the rest keep theirs (as Python's own table has it).
_ERRNO = {10004: errno.EINTR, 10009: errno.EBADF, 10013: errno.EACCES, 10014: errno.EFAULT, 10022: errno.EINVAL}


class WinsockError(NetworkError):
    """A Winsock function failed; `winerror` is its code."""

    retry: ClassVar[bool] = False
    winerror: int

    def __init__(self, code: int, message: str) -> None:
        super().__init__(_ERRNO.get(code, code), message)
        self.winerror = code


class UnlistedSendError(WinsockError, SendError):
    """A code that WSASendMsg's page doesn't list (10047, 10049 and 10065 were seen).

    Don't retry: the cause is unknown.
    """


class SourceNotAvailable(WinsockError, SourceUnavailable):
    """10022, 10049 or 10051 when a source was given: it is no address of this host, or the interface is another's.

    No code is documented for it; these three were seen.  Don't retry: the peer must ask again,
    at an address that exists.
    """


class SendInterrupted(WinsockError, SendError):
    """10004 WSAEINTR: a blocking call was cancelled (WSACancelBlockingCall).  Nothing was sent; retry."""

    retry = True


class BroadcastForbidden(WinsockError, SendError):
    """10013 WSAEACCES: a broadcast address without SO_BROADCAST.  Don't retry: set the option first."""


class BadPointer(WinsockError, SendError):
    """10014 WSAEFAULT: a bad pointer; NULL with a length; a name that is not the socket's family.

    Don't retry: it is our mistake.
    """


class InvalidArgument(WinsockError, SendError):
    """10022 WSAEINVAL: the socket is not bound, a stream, or not created overlapped; or malformed control data.

    Don't retry.
    """


class SendWouldBlock(WinsockError, SendError):
    """10035 WSAEWOULDBLOCK: no room now, or too many overlapped operations outstanding.  Wait for room, then retry."""

    retry = True


class CallInProgress(WinsockError, SendError):
    """10036 WSAEINPROGRESS: a blocking Winsock 1.1 call is under way, or the provider is in a callback.

    Retry after it.
    """

    retry = True


class NotASocket(WinsockError, SendError):
    """10038 WSAENOTSOCK: the handle is no socket, or no longer.  Don't retry."""


class DatagramTooLong(WinsockError, MessageTooLong):
    """10040 WSAEMSGSIZE: longer than SO_MAX_MSG_SIZE; nothing was sent.  Don't retry: send less."""


class FlagNotSupported(WinsockError, SendError):
    """10045 WSAEOPNOTSUPP: a flag that is not valid here (MSG_OOB and MSG_PARTIAL on UDP).  Don't retry."""


class NetworkDown(WinsockError, SendRefused):
    """10050 WSAENETDOWN: the network subsystem failed.  Retry later: it may come back."""

    retry = True


class NetworkUnreachable(WinsockError, Unreachable):
    """10051 WSAENETUNREACH: no route from here.  Don't retry before the routes change."""


class TimeToLiveExpired(WinsockError, SendError):
    """10052 WSAENETRESET: an *earlier* datagram's time to live ran out on the way.  This one was not sent; retry."""

    retry = True


class PortUnreachable(WinsockError, SendError):
    """10054 WSAECONNRESET: an *earlier* datagram met "port unreachable".  This one was not sent; retry."""

    retry = True


class NoBuffers(WinsockError, SendRefused):
    """10055 WSAENOBUFS: the provider reports a buffer deadlock.  Retry later."""

    retry = True


class NotConnected(WinsockError, SendError):
    """10057 WSAENOTCONN: no destination was given, and the socket is not connected.  Don't retry: name one."""


class SendingShutDown(WinsockError, SendError):
    """10058 WSAESHUTDOWN: `shutdown(SD_SEND)` was called.  Don't retry: this socket sends no more."""


class SendTimedOut(WinsockError, SendRefused):
    """10060 WSAETIMEDOUT: a blocking socket had no room for SO_SNDTIMEO.  Nothing was sent; retry."""

    retry = True


class NotInitialised(WinsockError, SendError):
    """10093 WSANOTINITIALISED: no WSAStartup (Python's `socket` module calls it).  Don't retry before that."""


class SendPending(WinsockError, SendError):
    """997 WSA_IO_PENDING: an overlapped operation was started.  Not a failure: wait for its completion, don't retry."""


class SendAborted(WinsockError, SendError):
    """995 WSA_OPERATION_ABORTED: the socket was closed (or SIO_FLUSH) before the datagram went.

    Don't retry on this socket.
    """


SEND_ERRORS: dict[int, type[WinsockError]] = {
    10004: SendInterrupted,
    10013: BroadcastForbidden,
    10014: BadPointer,
    10022: InvalidArgument,
    10035: SendWouldBlock,
    10036: CallInProgress,
    10038: NotASocket,
    10040: DatagramTooLong,
    10045: FlagNotSupported,
    10050: NetworkDown,
    10051: NetworkUnreachable,
    10052: TimeToLiveExpired,
    10054: PortUnreachable,
    10055: NoBuffers,
    10057: NotConnected,
    10058: SendingShutDown,
    10060: SendTimedOut,
    10093: NotInitialised,
    WSA_IO_PENDING: SendPending,
    WSA_OPERATION_ABORTED: SendAborted,
}
"""The table of WSASendMsg's page."""

_SOURCE_CODES = frozenset({WSAEINVAL, WSAEADDRNOTAVAIL, WSAENETUNREACH})


def error_for(code: int, what: str, *, source_given: bool = False) -> WinsockError:
    """The exception for a WSASendMsg that returned `code`; `what` names sizes and addresses: "5 bytes to [::1]:53"."""
    kind = SEND_ERRORS.get(code, UnlistedSendError)
    if source_given and code in _SOURCE_CODES:
        kind = SourceNotAvailable
    return kind(code, f"WSASendMsg of {what}: error {code} ({kind.__name__})")


def call_error(code: int, function: str) -> WinsockError:
    """The exception for another function that returned `code`."""
    return WinsockError(code, f"{function}: error {code}")


def error_code(error: OSError) -> int:
    """Winsock's code of an exception from Python's `socket`."""
    return getattr(error, "winerror", None) or error.errno or 0

"""One exception a code of WSASendMsg's page: typed, told apart, and honest about retries."""

from __future__ import annotations

import errno

import pytest

from responder import errors
from responder.net.windows import winsock_errors as winsock
from responder.net.windows.winsock_errors import error_for

# The reference's table: code, may the same datagram be sent again, and the framework's class that it must be.
TABLE = [
    (10004, "WSAEINTR", True, errors.SendError),
    (10013, "WSAEACCES", False, errors.SendError),
    (10014, "WSAEFAULT", False, errors.SendError),
    (10022, "WSAEINVAL", False, errors.SendError),
    (10035, "WSAEWOULDBLOCK", True, errors.SendError),
    (10036, "WSAEINPROGRESS", True, errors.SendError),
    (10038, "WSAENOTSOCK", False, errors.SendError),
    (10040, "WSAEMSGSIZE", False, errors.MessageTooLong),
    (10045, "WSAEOPNOTSUPP", False, errors.SendError),
    (10050, "WSAENETDOWN", True, errors.SendRefused),
    (10051, "WSAENETUNREACH", False, errors.Unreachable),
    (10052, "WSAENETRESET", True, errors.SendError),
    (10054, "WSAECONNRESET", True, errors.SendError),
    (10055, "WSAENOBUFS", True, errors.SendRefused),
    (10057, "WSAENOTCONN", False, errors.SendError),
    (10058, "WSAESHUTDOWN", False, errors.SendError),
    (10060, "WSAETIMEDOUT", True, errors.SendRefused),
    (10093, "WSANOTINITIALISED", False, errors.SendError),
    (997, "WSA_IO_PENDING", False, errors.SendError),
    (995, "WSA_OPERATION_ABORTED", False, errors.SendError),
]


@pytest.mark.parametrize(("code", "name", "retry", "base"), TABLE, ids=[row[1] for row in TABLE])
def test_a_code_of_the_page(code: int, name: str, retry: bool, base: type[errors.SendError]) -> None:
    error = error_for(code, "5 bytes to [::1]:53")
    assert type(error) is winsock.SEND_ERRORS[code]
    assert isinstance(error, base)
    assert isinstance(error, OSError)
    assert error.winerror == code
    assert error.retry is retry
    assert "5 bytes to [::1]:53" in str(error)
    meaning = type(error).__doc__ or ""
    assert meaning.startswith(f"{code} {name}: ")
    assert "retry" in meaning.lower()
    assert ("don't retry" in meaning.lower()) is not retry


def test_each_code_has_a_class_of_its_own() -> None:
    assert {row[0] for row in TABLE} == set(winsock.SEND_ERRORS)
    assert len(set(winsock.SEND_ERRORS.values())) == len(TABLE)


@pytest.mark.parametrize("code", [10047, 10049, 10065, 1, 99999])
def test_a_code_that_is_not_on_the_page(code: int) -> None:
    error = error_for(code, "0 bytes")
    assert type(error) is winsock.UnlistedSendError
    assert (error.winerror, error.retry) == (code, False)


@pytest.mark.parametrize("code", [10022, 10049, 10051])
def test_these_mean_the_source_only_where_one_was_given(code: int) -> None:
    given = error_for(code, "5 bytes", source_given=True)
    assert isinstance(given, errors.SourceUnavailable)
    assert given.winerror == code
    assert not isinstance(error_for(code, "5 bytes"), errors.SourceUnavailable)


@pytest.mark.parametrize("code", [10035, 10040, 10013])
def test_the_source_is_not_blamed_for_others(code: int) -> None:
    assert type(error_for(code, "5 bytes", source_given=True)) is winsock.SEND_ERRORS[code]


@pytest.mark.parametrize(
    ("code", "number"), [(10013, errno.EACCES), (10022, errno.EINVAL), (10004, errno.EINTR), (10040, 10040)]
)
def test_errno_is_what_python_makes_of_it_on_windows(code: int, number: int) -> None:
    assert error_for(code, "x").errno == number


def test_another_functions_failure_is_no_send_error() -> None:
    error = winsock.call_error(10038, "WSARecvMsg")
    assert isinstance(error, errors.NetworkError)
    assert not isinstance(error, errors.SendError)
    assert error.winerror == 10038
    assert "WSARecvMsg" in str(error)

"""The codes of WSASendMsg's page: each with its meaning, and the kinds that are told apart."""

from __future__ import annotations

import errno

import pytest

from responder import errors
from responder.net.windows.winsock_errors import SEND_CODES, call_error, error_code, send_error

# The page's table: code, name, and the framework's class that it must be.
TABLE = [
    (10004, "WSAEINTR", errors.SendError),
    (10013, "WSAEACCES", errors.SendError),
    (10014, "WSAEFAULT", errors.SendError),
    (10022, "WSAEINVAL", errors.SendError),
    (10035, "WSAEWOULDBLOCK", errors.SendError),
    (10036, "WSAEINPROGRESS", errors.SendError),
    (10038, "WSAENOTSOCK", errors.SendError),
    (10040, "WSAEMSGSIZE", errors.MessageTooLong),
    (10045, "WSAEOPNOTSUPP", errors.SendError),
    (10050, "WSAENETDOWN", errors.SendRefused),
    (10051, "WSAENETUNREACH", errors.Unreachable),
    (10052, "WSAENETRESET", errors.SendError),
    (10054, "WSAECONNRESET", errors.SendError),
    (10055, "WSAENOBUFS", errors.SendRefused),
    (10057, "WSAENOTCONN", errors.SendError),
    (10058, "WSAESHUTDOWN", errors.SendError),
    (10060, "WSAETIMEDOUT", errors.SendRefused),
    (10093, "WSANOTINITIALISED", errors.SendError),
    (997, "WSA_IO_PENDING", errors.SendError),
    (995, "WSA_OPERATION_ABORTED", errors.SendError),
]


@pytest.mark.parametrize(("code", "name", "kind"), TABLE, ids=[row[1] for row in TABLE])
def test_a_code_of_the_page(code: int, name: str, kind: type[errors.SendError]) -> None:
    error = send_error(code, "5 bytes to [::1]:53")
    assert type(error) is kind
    assert error_code(error) == code
    assert "5 bytes to [::1]:53" in str(error)
    assert f"error {code} ({name}: " in str(error)


def test_the_table_is_the_pages() -> None:
    assert {row[0] for row in TABLE} == set(SEND_CODES)
    assert len({meaning for _, meaning in SEND_CODES.values()}) == len(TABLE)


@pytest.mark.parametrize("code", [10047, 10049, 10065, 1, 99999])
def test_a_code_that_is_not_on_the_page(code: int) -> None:
    error = send_error(code, "0 bytes")
    assert type(error) is errors.SendError
    assert error_code(error) == code


@pytest.mark.parametrize("code", [10022, 10049, 10051])
def test_these_mean_the_source_only_where_one_was_given(code: int) -> None:
    given = send_error(code, "5 bytes", source_given=True)
    assert type(given) is errors.SourceUnavailable
    assert error_code(given) == code
    assert not isinstance(send_error(code, "5 bytes"), errors.SourceUnavailable)


@pytest.mark.parametrize("code", [10035, 10040, 10013])
def test_the_source_is_not_the_reason_of_others(code: int) -> None:
    assert type(send_error(code, "5 bytes", source_given=True)) is SEND_CODES[code][0]


@pytest.mark.parametrize(
    ("code", "number"), [(10013, errno.EACCES), (10022, errno.EINVAL), (10004, errno.EINTR), (10040, 10040)]
)
def test_errno_is_what_python_makes_of_it_on_windows(code: int, number: int) -> None:
    assert send_error(code, "x").errno == number


def test_another_functions_failure_is_no_send_error() -> None:
    error = call_error(10038, "WSARecvMsg")
    assert type(error) is errors.NetworkError
    assert error_code(error) == 10038
    assert "WSARecvMsg" in str(error)

"""Who may open a control file on Windows; that it is so from the first moment is shown in tests/windows/native."""

from __future__ import annotations

from responder.net.windows.private_file import access_list


def test_the_user_the_system_and_the_administrators_and_nobody_else() -> None:
    """Nothing is inherited (P).  The administrators are in: the same user without elevated rights is, and beside a
    service's account they are those who ask it.
    """
    assert access_list("S-1-5-21-1-2-3-1001") == "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;S-1-5-21-1-2-3-1001)"


def test_a_folders_list_is_that_of_what_is_made_in_it() -> None:
    assert access_list("LS", inherited=True) == "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;LS)"

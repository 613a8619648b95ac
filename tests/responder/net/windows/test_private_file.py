"""Who may open a control file on Windows; that it is so from the first moment is shown in tests/windows/native."""

from __future__ import annotations

import pytest

from responder.net.windows.private_file import access_list, extended_list


def test_the_user_the_system_and_the_administrators_and_nobody_else() -> None:
    """Nothing is inherited (P).  The administrators are in: the same user without elevated rights is, and beside a
    service's account they are those who ask it.
    """
    assert access_list("S-1-5-21-1-2-3-1001") == "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;S-1-5-21-1-2-3-1001)"


def test_a_folders_list_is_that_of_what_is_made_in_it() -> None:
    assert access_list("LS", inherited=True) == "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;LS)"


OURS = "(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;LS)"


@pytest.mark.parametrize(
    ("present", "extended"),
    [
        # What %ProgramData% hands down: any user may read, and make files.
        ("D:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIIOID;GA;;;CO)(A;OICIID;0x1200a9;;;BU)", OURS),
        # Another service's, and what an administrator has given by name.
        (
            "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;NS)(A;OICI;0x1200a9;;;S-1-5-21-1-2-3-1001)",
            "(A;OICI;FA;;;NS)(A;OICI;0x1200a9;;;S-1-5-21-1-2-3-1001)" + OURS,
        ),
        ("D:P(A;;FA;;;S-1-5-21-1-2-3-1001)(A;OICI;0x1200a9;;;WD)", "(A;;FA;;;S-1-5-21-1-2-3-1001)" + OURS),
        ("D:P(A;OICI;FA;;;NS)(D;;FA;;;BG)", "(D;;FA;;;BG)(A;OICI;FA;;;NS)" + OURS),
        ("D:P" + OURS, OURS),
        ("D:", OURS),
    ],
)
def test_a_user_is_added_to_what_a_folders_list_has(present: str, extended: str) -> None:
    assert extended_list(present, "LS") == "D:P" + extended

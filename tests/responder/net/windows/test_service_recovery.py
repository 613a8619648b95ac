"""What the service manager is told to do when the service fails; its structures held against mingw-w64's headers."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest

from responder.net.windows import service_recovery as own
from responder.net.windows.service_recovery import Action, FailureActions, FailureActionsFlag

from .test_winsock_types import compiler


def test_it_is_started_again_after_delays_that_grow() -> None:
    (_, actions), (_, flag) = own.recovery()
    assert isinstance(actions, FailureActions)
    assert actions.dwResetPeriod == 24 * 3600
    # NULL leaves a text as it is.
    assert (actions.lpRebootMsg, actions.lpCommand) == (None, None)
    told = [(action.Type, action.Delay) for action in actions.lpsaActions[: actions.cActions]]
    assert told == [(1, 1000), (1, 5000), (1, 30_000)]
    assert bytes(flag) == b"\1\0\0\0"


@pytest.mark.windows
@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="Python's pointers have the size that it is built for")
def test_the_headers_agree(tmp_path: Path) -> None:
    claims = {"SERVICE_CONFIG_FAILURE_ACTIONS": own.CONFIG_FAILURE_ACTIONS}
    claims |= {"SERVICE_CONFIG_FAILURE_ACTIONS_FLAG": own.CONFIG_FAILURE_ACTIONS_FLAG}
    claims |= {"SC_ACTION_RESTART": own.ACTION_RESTART}
    for name, structure in (
        ("SC_ACTION", Action),
        ("SERVICE_FAILURE_ACTIONSW", FailureActions),
        ("SERVICE_FAILURE_ACTIONS_FLAG", FailureActionsFlag),
    ):
        claims[f"sizeof({name})"] = ctypes.sizeof(structure)
        for field, _ in structure._fields_:
            claims[f"offsetof({name}, {field})"] = getattr(structure, field).offset
            claims[f"sizeof((({name} *)0)->{field})"] = getattr(structure, field).size
    assert claims["sizeof(SERVICE_FAILURE_ACTIONSW)"] == 40
    lines = ["#include <stddef.h>", "#include <windows.h>", "#include <winsvc.h>"]
    lines += [f'_Static_assert(({expression}) == {value}, "{expression}");' for expression, value in claims.items()]
    source = tmp_path / "layout.c"
    source.write_text("\n".join(lines))
    done = subprocess.run(
        [compiler(8), "-D_WIN32_WINNT=0x0A00", "-c", source, "-o", tmp_path / "layout.o"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

"""The skips of tests/requirements.py: with their reasons, and failures where RESPONDER_TEST_REQUIRE says so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import requirements
from tests.windows.wine import WindowsPython

pytest_plugins = "pytester"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A suite with our conftest and a test that needs a client which no machine has."""
    monkeypatch.delenv("RESPONDER_TEST_REQUIRE", raising=False)
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers = clients\n")
    pytester.makepyfile("import pytest\n@pytest.mark.clients('no-such-client')\ndef test_it(): pass\n")
    return pytester


def test_a_missing_client_is_a_skip_with_its_reason(suite: pytest.Pytester) -> None:
    result = suite.runpytest("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines("*clients: missing: no-such-client*")


def test_and_a_failure_where_it_is_required(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONDER_TEST_REQUIRE", "lab, clients")
    result = suite.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*clients: missing: no-such-client*RESPONDER_TEST_REQUIRE*")


def test_another_requirement_leaves_it_a_skip(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONDER_TEST_REQUIRE", "lab")
    suite.runpytest().assert_outcomes(skipped=1)


def test_a_misspelt_requirement_is_refused(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONDER_TEST_REQUIRE", "labs")
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("*RESPONDER_TEST_REQUIRE: labs: expected some of*")


def test_on_windows_itself_nothing_is_built_for_wine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kit is Debian's: there is no bash for it, nor Wine."""
    monkeypatch.delenv("RESPONDER_TEST_REQUIRE", raising=False)
    monkeypatch.setattr(WindowsPython, "_built", lambda: pytest.fail("the kit is built"))
    requirements.lacks_windows.cache_clear()
    monkeypatch.setattr(sys, "platform", "win32")
    try:
        with pytest.raises(pytest.skip.Exception, match="windows: Wine is not for Windows itself"):
            WindowsPython.build()
        reason = requirements.CHECKS["windows"]()
    finally:
        monkeypatch.undo()
        requirements.lacks_windows.cache_clear()
    assert reason


def test_the_windows_job_runs_the_test_command_for_windows() -> None:
    checkout = Path(__file__).parents[1]
    command = "-m pytest tests/windows/native"
    assert command in (checkout / "CONTRIBUTING.md").read_text(encoding="utf-8")
    steps = (checkout / ".github/workflows/tests.yml").read_text(encoding="utf-8").split("- name:")
    assert [step for step in steps if command in step and "runner.os == 'Windows'" in step]

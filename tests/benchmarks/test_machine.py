"""When a machine counts as busy, from what /proc says.  Its own text is made here; timings are never tests."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest

if sys.platform == "win32":
    pytest.skip("the benchmarks need Linux", allow_module_level=True)

from . import machine, misbehaving
from .machine import TICKS, Load, Process, Snapshot, descendants, parse_cores, parse_stat


def process(own: float = 0.0, waited: float = 0.0, parent: int = 1, name: str = "cc1") -> Process:
    return Process(name, parent, own, 0.0, waited)


def snapshot(time: float, others: Mapping[int, Process], stolen: float = 0.0, idle: float = 0.0) -> Snapshot:
    return Snapshot(time, others, {0: idle}, stolen)


def test_a_quiet_machine_disturbs_nothing() -> None:
    load = Load.between(snapshot(0, {7: process(5.0)}), snapshot(10, {7: process(5.1)}, idle=9.0))
    assert not load.disturbs
    assert load.idle == {0: pytest.approx(0.9)}


def test_a_process_that_works_disturbs_and_is_named() -> None:
    load = Load.between(snapshot(0, {7: process(5.0)}), snapshot(10, {7: process(8.0)}))
    assert load.disturbs
    assert load.others == pytest.approx(0.3)
    assert "cc1 30%" in str(load)


def test_work_of_a_process_that_came_and_went_shows_in_its_parent() -> None:
    load = Load.between(snapshot(0, {7: process(name="make")}), snapshot(10, {7: process(waited=4.0, name="make")}))
    assert load.others == pytest.approx(0.4)
    assert load.disturbs


def test_what_a_process_did_before_does_not_count_when_it_ends() -> None:
    before = {7: process(name="make"), 8: process(100.0, parent=7)}
    load = Load.between(snapshot(0, before), snapshot(10, {7: process(waited=100.0, name="make")}))
    assert load.others == pytest.approx(0.0)


@pytest.mark.parametrize(("stolen", "disturbs"), [(1.0, False), (4.0, True)])
def test_time_that_the_hypervisor_takes_disturbs_where_it_is_much(stolen: float, disturbs: bool) -> None:
    load = Load.between(snapshot(0, {}), snapshot(10, {}, stolen=stolen))
    assert load.disturbs is disturbs
    assert f"hypervisor took {stolen / 10:.0%}" in str(load)


def test_misbehaving_is_not_measured_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = iter([snapshot(0, {7: process(5.0)}), snapshot(1, {7: process(6.0)})])
    monkeypatch.setattr(Snapshot, "take", lambda: next(snapshots))
    monkeypatch.setattr(machine.time, "sleep", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["misbehaving"])
    with pytest.raises(SystemExit, match="busy, so nothing is measured: other processes used 100%"):
        misbehaving.main()


def test_descendants_are_found_through_generations() -> None:
    tree = {
        1: process(parent=0),
        5: process(parent=1),
        6: process(parent=5),
        9: process(parent=6),
        8: process(parent=1),
    }
    assert descendants(tree, 5) == {5, 6, 9}


def test_a_stat_line_with_parentheses_in_the_name() -> None:
    fields = ["S", "42", *["0"] * 9, str(2 * TICKS), str(3 * TICKS), str(4 * TICKS), str(5 * TICKS), *["0"] * 30]
    found = parse_stat(f"7 (a (b) c) {' '.join(fields)}")
    assert found == Process("a (b) c", 42, 2.0, 3.0, 9.0)
    assert (found.own, found.total) == (5.0, 14.0)


def test_idle_time_is_read_by_core_and_stolen_time_of_all() -> None:
    def line(name: str, idle: float, waiting: float, stolen: float) -> str:
        return f"{name} 1 2 3 {idle * TICKS:.0f} {waiting * TICKS:.0f} 6 7 {stolen * TICKS:.0f} 0 0"

    said = "\n".join([line("cpu", 9, 9, 9), line("cpu0", 1, 2, 3), line("cpu1", 4, 0, 1), "intr 1 2 3", "ctxt 5"])
    assert parse_cores(said) == ({0: 3.0, 1: 4.0}, 4.0)

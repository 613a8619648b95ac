"""The alert rules and the dashboard: what Prometheus says of them, and that they ask for what the daemon exports."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from responder.daemon.prometheus import render
from responder.daemon.status import WorkerStatus
from tests.responder.daemon.support import STATUS

FOLDER = Path(__file__).parents[2] / "examples" / "monitoring"

ADDED = {"job", "instance"}
"""Labels that Prometheus itself gives each series."""

VARIABLES = {"$__rate_interval": "5m", "$job": ".*", "$instance": ".*"}
"""What Grafana puts in."""


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, cwd=FOLDER, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The labels of each metric that a daemon with something of everything exports."""
    status = attrs.evolve(STATUS, workers=(WorkerStatus(0, 1, "ready", 0),))
    found: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(render(status).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    return found


def queries() -> list[tuple[str, str]]:
    """Each query of the dashboard, with its legend."""
    return [(target["expr"], target["legendFormat"]) for panel in panels() for target in panel["targets"]]


def alerts() -> list[tuple[str, str]]:
    """Each alert's expression, with its summary."""
    text = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    return list(zip(re.findall(r"expr: (.*)", text), re.findall(r'summary: "(.*)"', text), strict=True))


@pytest.mark.clients("promtool")
def test_the_alert_rules_are_sound_and_fire_when_they_are_to() -> None:
    assert f"SUCCESS: {len(alerts())} rules found" in promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")


def test_each_alert_is_in_their_test() -> None:
    names = re.findall(r"alert: (\w+)", (FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    tested = re.findall(r'alertname="(\w+)"', (FOLDER / "alerts_test.yml").read_text(encoding="utf-8"))
    assert sorted(names) == sorted(tested)


@pytest.mark.clients("promtool")
def test_prometheus_reads_each_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = []
    for number, (query, _) in enumerate(queries()):
        for variable, value in VARIABLES.items():
            query = query.replace(variable, value)  # noqa: PLW2901
        assert "$" not in query
        rules.append({"record": f"query:{number}", "expr": query})
    file = tmp_path / "queries.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", file)


@pytest.mark.parametrize(("query", "legend"), [*queries(), *alerts()])
def test_what_is_asked_for_is_exported(query: str, legend: str, exported: dict[str, set[str]]) -> None:
    names = set(re.findall(r"\b(?:responderd|process)_\w+|\bup\b", query))
    assert names
    assert names <= exported.keys()
    labels = ADDED.union(*(exported[name] for name in names))
    grouped = re.findall(r"\bby \(([^)]*)\)", query)
    asked = {label.strip() for group in grouped for label in group.split(",")}
    asked |= set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', query))
    assert asked <= labels
    # What a query groups by is all that its legend can name.
    known = {label.strip() for label in grouped[0].split(",")} if grouped else labels
    assert set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", legend)) <= known


def test_the_dashboard_s_panels_are_explained_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        taken |= cells

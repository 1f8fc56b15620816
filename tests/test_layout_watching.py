"""Every process is watched: a new service brings its alerts, its target and its dashboard."""

from collections.abc import Iterable

import pytest
import yaml

from shared.services import PROCESSES, Service
from tests.sources import ROOT, name_of

PROMETHEUS = ROOT / "monitoring" / "prometheus"
EVERY_PROCESS = pytest.mark.parametrize("process", PROCESSES, ids=[one.name for one in PROCESSES])


@EVERY_PROCESS
def test_every_process_has_alerts_of_its_own(process: Service) -> None:
    rules = PROMETHEUS / "rules" / f"{process.name}.yml"
    assert rules.is_file(), f"{process.name} has no alerts: write {name_of(rules)}"
    groups = yaml.safe_load(rules.read_text())["groups"]
    assert any("alert" in rule for group in groups for rule in group["rules"]), (
        f"{name_of(rules)} has no alert of {process.name}"
    )


@EVERY_PROCESS
def test_every_process_is_expected_by_name(process: Service) -> None:
    jobs = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    (static,) = (job["static_configs"] for job in jobs if job["job_name"] == "services")
    target = {
        "targets": [f"{process.name}:{process.port}"],
        "labels": {"service": process.name},
    }
    assert target in static, f"{name_of(PROMETHEUS)}/prometheus.yml: job services lacks {target}"


@EVERY_PROCESS
def test_every_process_has_a_dashboard(process: Service) -> None:
    board = ROOT / "monitoring" / "grafana" / "dashboards" / f"{process.name}.json"
    assert board.is_file(), f"{process.name} has no dashboard: make dashboards"


def without_runbook(alerts: Iterable[str]) -> list[str]:
    return [
        f"docs/runbooks/{name}.md"
        for name in alerts
        if not (ROOT / "docs" / "runbooks" / f"{name}.md").is_file()
    ]


@EVERY_PROCESS
def test_every_alert_of_a_process_has_a_runbook(process: Service) -> None:
    groups = yaml.safe_load((PROMETHEUS / "rules" / f"{process.name}.yml").read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]
    assert alerts
    assert without_runbook(alerts) == []


def test_an_alert_without_a_runbook_is_named() -> None:
    assert without_runbook(["AssistantDown"]) == ["docs/runbooks/AssistantDown.md"]

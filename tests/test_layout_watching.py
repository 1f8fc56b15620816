"""Every process is watched: a new service brings its alerts, its target and its dashboard."""

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

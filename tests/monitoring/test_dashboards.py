"""The dashboards that are committed are those of the code, and every panel can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.grafana.dashboards import dashboards
from shared.services import PROCESSES
from tests.monitoring.prometheus_files import (
    ALERTS,
    RECORDED,
    ROOT,
    metrics_of,
    runbook_queries,
)
from tests.monitoring.test_promtool import PROMTOOL, promtool

GRAFANA = ROOT / "monitoring" / "grafana"
WRITTEN = {path.stem: json.loads(path.read_text()) for path in (GRAFANA / "dashboards").iterdir()}
PANELS = {
    f"{name}/{panel['title']}": panel
    for name, board in WRITTEN.items()
    for panel in board["panels"]
    if panel["type"] != "row"
}


def queries(organisation: str = "other") -> Iterator[tuple[str, str]]:
    """Panel and PromQL."""
    for name, panel in PANELS.items():
        for target in panel["targets"]:
            yield name, asked(target["expr"], organisation)


def choices() -> str:
    """What finds the organisations that can be chosen."""
    (choice,) = WRITTEN["organisations"]["templating"]["list"]
    return str(choice["query"]).removeprefix("query_result(").removesuffix(")")


def asked(expression: str, organisation: str) -> str:
    """As Grafana asks it: a window and an organisation in the places of its variables."""
    return expression.replace("$__rate_interval", "5m").replace("$organisation", organisation)


def test_what_is_committed_is_what_the_code_says() -> None:
    written = {path.stem: path.read_text("utf-8") for path in (GRAFANA / "dashboards").iterdir()}
    assert written == dashboards(), "run: make dashboards"


def test_every_process_has_a_dashboard() -> None:
    assert set(WRITTEN) == {"overview", "organisations", "stores", *(one.name for one in PROCESSES)}
    for name, board in WRITTEN.items():
        assert board["uid"] == f"looma-{name}"
        assert board["description"]
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_says_what_it_shows_and_in_which_unit(name: str) -> None:
    panel = PANELS[name]
    shown = panel["fieldConfig"]["defaults"]
    assert len(panel["description"]) > 10
    assert shown["unit"]
    assert shown["thresholds"]["steps"]
    assert panel["targets"]
    assert all(target["legendFormat"] for target in panel["targets"])
    assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_panels_name_runbooks_that_there_are_and_every_alert_has_a_panel() -> None:
    named = {
        runbook
        for panel in PANELS.values()
        for runbook in re.findall(r"docs/runbooks/(\w+)\.md", panel["description"])
    }
    assert named == set(ALERTS)


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_leads_to_the_runbooks_of_its_alerts(name: str) -> None:
    panel = PANELS[name]
    alerts = re.findall(r"docs/runbooks/(\w+)\.md", panel["description"])
    assert [link["url"] for link in panel.get("links", ())] == [
        f"/public/runbooks/{alert}.md" for alert in alerts
    ]


def test_every_dashboard_leads_to_all_runbooks_which_grafana_serves() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    mounts = compose["services"]["grafana"]["volumes"]
    assert "./docs/runbooks:/usr/share/grafana/public/runbooks:ro" in mounts
    for board in WRITTEN.values():
        assert "/public/runbooks/README.md" in [link.get("url") for link in board["links"]]
    index = (ROOT / "docs/runbooks/README.md").read_text()
    assert set(ALERTS) <= set(re.findall(r"\]\((\w+)\.md\)", index))


@pytest.mark.parametrize("name", WRITTEN)
def test_a_dashboard_is_one_by_grafanas_own_types(name: str) -> None:
    """Read into the types of Grafana's schema and written again, nothing is lost or made up."""
    again = JSONEncoder(sort_keys=True).encode(Dashboard.from_json(WRITTEN[name]))
    assert json.loads(again) == WRITTEN[name]


def test_an_organisation_is_chosen_by_its_name() -> None:
    choice = WRITTEN["organisations"]["templating"]["list"][0]
    assert metrics_of(choices()) == {"organisation_info", "organisation_requests_total"}
    shown = '{organisation="7f9a2a52", slug="acme"} 1'
    pattern = choice["regex"].removeprefix("/").removesuffix("/g").replace("?<", "?P<")
    found = [match.groupdict() for match in re.finditer(pattern, shown)]
    assert found == [{"value": "7f9a2a52", "text": None}, {"value": None, "text": "acme"}]


def test_panels_read_recorded_series_that_there_are() -> None:
    read = {metric for _, query in queries() for metric in metrics_of(query)}
    assert {metric for metric in read if ":" in metric} <= RECORDED


def test_panels_read_the_provisioned_data_source() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    (source,) = provisioned["datasources"]
    (linked,) = source["jsonData"]["exemplarTraceIdDestinations"]
    traces = yaml.safe_load((GRAFANA / "provisioning/datasources/jaeger.yml").read_text())
    assert linked["datasourceUid"] == traces["datasources"][0]["uid"]
    assert {panel["datasource"]["uid"] for panel in PANELS.values()} == {source["uid"]}


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: apt-get install prometheus")
def test_promtool_reads_every_query_of_panels_and_runbooks(tmp_path: Path) -> None:
    rules: list[dict[str, Any]] = [
        {"record": f"panel:query:{number}", "expr": query}
        for number, (_, query) in enumerate([*queries(), *runbook_queries()])
    ]
    assert len(rules) > 100
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", file)

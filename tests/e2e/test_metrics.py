"""What the platform exports is what its rules read."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.services import PROCESSES
from tests.e2e.real_services import RealServices
from tests.monitoring.prometheus_files import (
    BACKUPS,
    CERTIFICATES,
    NODE_EXPORTER,
    PROMETHEUS_OWN,
    RECORDED,
    RULES,
    metrics_of,
    rules,
    runbook_queries,
)
from tests.monitoring.test_dashboards import queries

# What other programs tell, and what Prometheus makes of it.
ELSEWHERE = NODE_EXPORTER | BACKUPS | CERTIFICATES | PROMETHEUS_OWN | RECORDED


@pytest.fixture(scope="module")
async def targets(whole: RealServices) -> dict[str, str]:
    """Where each process is scraped, as the gateway tells Prometheus."""
    async with httpx.AsyncClient() as client:
        told = (await client.get(f"{whole.url}/internal/targets")).json()
    found = {group["labels"]["service"]: group["targets"][0] for group in told}
    # It listens on a free port here, which it doesn't announce.
    return found | {"gateway": urlsplit(whole.url).netloc}


@pytest.fixture(scope="module")
async def exported(targets: dict[str, str]) -> dict[str, set[str]]:
    """The names of the series of each process."""
    async with httpx.AsyncClient() as client:
        pages = {
            name: (await client.get(f"http://{target}/metrics")).text
            for name, target in targets.items()
        }
    return {name: set(series_of(page)) for name, page in pages.items()}


def series_of(page: str) -> Iterator[str]:
    """Also of what has not been counted yet."""
    for family in text_string_to_metric_families(page):
        yield from {
            "counter": [f"{family.name}_total"],
            "histogram": [f"{family.name}_{part}" for part in ("bucket", "sum", "count")],
        }.get(family.type, [family.name])


def test_every_process_is_a_target(targets: dict[str, str]) -> None:
    assert set(targets) == {one.name for one in PROCESSES}


def test_every_metric_of_a_panel_or_runbook_is_exported(exported: dict[str, set[str]]) -> None:
    known = set().union(*exported.values(), ELSEWHERE)
    read = {
        (name, metric)
        for name, query in (*queries(), *runbook_queries())
        for metric in metrics_of(query)
    }
    assert {one for one in read if one[1] not in known} == set()


def test_every_metric_of_a_rule_is_exported(exported: dict[str, set[str]]) -> None:
    known = set().union(*exported.values(), ELSEWHERE)
    missing = {
        (rule.get("alert") or rule["record"], metric)
        for path in RULES
        for rule in rules(path)
        for metric in metrics_of(rule["expr"]) - known
    }
    assert missing == set()

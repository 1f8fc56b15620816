"""Calls by organisation and outcome, as Prometheus reads them."""

from __future__ import annotations

from uuid import UUID

from ai_services.enrichment.counts import OrganisationCounts
from shared.telemetry.metrics import Metrics

ONE, TWO = UUID(int=1), UUID(int=2)


def test_calls_are_counted_for_their_organisation_or_together() -> None:
    metrics = Metrics("enrichment", 1)
    counts = OrganisationCounts(metrics)
    counts.brought_in(ONE, {"inserted": 2, "rejected": 1})
    counts.brought_in(TWO, {"inserted": 1})
    counts.analysed(ONE, 5)
    counts.analysed(TWO, 2)

    def told(metric: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(metric, labels)

    calls = "organisation_calls_total"
    assert told(calls, organisation=str(ONE), outcome="inserted") == 2
    assert told(calls, organisation=str(ONE), outcome="rejected") == 1
    assert told(calls, organisation="other", outcome="inserted") == 1
    analysed = "organisation_calls_analysed_total"
    assert told(analysed, organisation=str(ONE)) == 5
    assert told(analysed, organisation="other") == 2

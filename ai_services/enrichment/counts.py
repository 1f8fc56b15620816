"""What the service counts of each organisation: calls brought in, and calls analysed."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from shared.telemetry import metrics as telemetry
from shared.telemetry.metrics import Metrics


class OrganisationCounts:
    """By this process. What `looma import` brings in, it counts for whoever ran it."""

    def __init__(self, metrics: Metrics) -> None:
        self._labels = metrics.organisations
        self._calls = telemetry.Counter(
            "organisation_calls_total",
            "Calls sent, or fetched by jobs, by what became of them; the less busy organisations as other",
            ("organisation", "outcome"),
            registry=metrics.registry,
        )
        self._analysed = telemetry.Counter(
            "organisation_calls_analysed_total",
            "Calls analysed; the less busy organisations as other",
            ("organisation",),
            registry=metrics.registry,
        )

    def brought_in(self, org_id: UUID, outcomes: Mapping[str, int]) -> None:
        """`outcomes`: how many calls each of them is."""
        label = self._labels.of(org_id)
        for outcome, calls in outcomes.items():
            self._calls.labels(label, outcome).inc(calls)

    def analysed(self, org_id: UUID, calls: int) -> None:
        self._analysed.labels(self._labels.of(org_id)).inc(calls)

"""What the service measures of its analysing, by the loop and by jobs."""

from __future__ import annotations

from uuid import UUID

from prometheus_client import CollectorRegistry

from ai_services.enrichment.analysis.pending import Discarded
from ai_services.enrichment.counts import OrganisationCounts
from shared.telemetry.metrics import Counter, Gauge


class AnalysisMetrics:
    """`analyzer` is the name of the one that judges."""

    def __init__(
        self, analyzer: str, counts: OrganisationCounts, registry: CollectorRegistry
    ) -> None:
        self._counts = counts
        self.lag = Gauge(
            "enrichment_lag_seconds",
            "Age of the oldest transcript that waits for analysis",
            registry=registry,
        )
        self._analysed = Counter(
            "enrichment_analysed_total",
            "Transcripts analysed",
            ("analyzer",),
            registry=registry,
        ).labels(analyzer)
        self._in_vain = Counter(
            "enrichment_analyses_discarded_total",
            "Analyses not saved: the call was claimed by another worker, or its transcript corrected",
            ("reason",),
            registry=registry,
        )

    def saved(self, org_id: UUID, calls: int) -> None:
        self._analysed.inc(calls)
        self._counts.analysed(org_id, calls)

    def discarded(self, reason: Discarded, calls: int) -> None:
        self._in_vain.labels(reason).inc(calls)

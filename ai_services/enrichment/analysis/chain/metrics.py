"""What is measured of the chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from prometheus_client import CollectorRegistry

from ai_services.enrichment.analysis.chain.judged import Judged
from shared.telemetry.metrics import Counter, Gauge, Histogram

# What became of a request: an answer, one after a repair, one that doesn't fit, a refusal by the
# model, and why there was none.
Outcome = Literal[
    "ok", "repaired", "invalid", "refused", "too_long", "limited", "timeout", "unavailable",
    "budget", "no_model",
]  # fmt: skip
# What is wrong with the ids of an answer.
WrongId = Literal["missing", "unknown", "twice"]


class ChainMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._judged = Counter(
            "analysis_judged",
            "Transcripts judged, by the step of the chain that did",
            ("outcome",),
            registry=registry,
        )
        self._requests = Counter(
            "analysis_requests",
            "Requests to models for analysis, by what became of them",
            ("outcome",),
            registry=registry,
        )
        self.transcripts = Histogram(
            "analysis_transcripts_per_request",
            "Transcripts, or windows of them, in a request",
            buckets=(1, 2, 5, 10, 15, 20, 30, 40, 50),
            registry=registry,
        )
        self._wrong_ids = Counter(
            "analysis_wrong_ids",
            "Ids in answers of models that were missing, unknown or there twice",
            ("reason",),
            registry=registry,
        )
        self.quotes_dropped = Counter(
            "analysis_quotes_dropped",
            "Quotes of models that don't stand in the transcript",
            registry=registry,
        )
        self.dead = Counter(
            "analysis_dead_letters",
            "Transcripts that no answer of a model fits",
            ("reason",),
            registry=registry,
        )
        self.waiting = Gauge(
            "analysis_degraded_calls",
            "Calls with a local verdict that a model is still to judge",
            registry=registry,
        )
        self.dead_letters = Gauge(
            "analysis_dead_letter_calls",
            "Calls whose judging by a model was given up",
            registry=registry,
        )

    def judged(self, several: Sequence[Judged]) -> None:
        for one in several:
            self._judged.labels(one.step).inc()
            if one.dropped:
                self.quotes_dropped.inc(one.dropped)

    def request(self, outcome: Outcome) -> None:
        self._requests.labels(outcome).inc()

    def wrong_id(self, reason: WrongId, number: int) -> None:
        if number:
            self._wrong_ids.labels(reason).inc(number)

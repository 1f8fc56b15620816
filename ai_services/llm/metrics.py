"""What the llm service counts. Providers and models are those of the models file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar, cast

from prometheus_client import CollectorRegistry

from ai_services.llm.models.catalogue import Deployment
from ai_services.llm.spend.attempt import Settlement
from shared.telemetry.metrics import Counter, Gauge, Histogram

M = TypeVar("M", Counter, Gauge, Histogram)
_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_OF: Final = ("provider", "model")
_SERIES: Final = 1_000  # of them are kept at hand; more than a models file has


class LlmMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "llm_attempts", "Attempts at models by how they ended", (*_OF, "outcome"),
            registry=registry,
        )  # fmt: skip
        self._tokens = Counter("llm_tokens", "Tokens charged", (*_OF, "kind"), registry=registry)
        self._cost = Counter(
            "llm_cost", "Money charged, in LLM_MODELS' currency", _OF, registry=registry
        )
        self._seconds = Histogram(
            "llm_attempt_seconds", "From a request to a provider to the end of its answer", _OF,
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._first = Histogram(
            "llm_first_token_seconds", "From a request to a provider to its first token", _OF,
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._disbelieved = Counter(
            "llm_usage_disbelieved", "Answers whose stated usage was missing or implausible", _OF,
            registry=registry,
        )  # fmt: skip
        self._fallbacks = Counter(
            "llm_fallbacks", "Requests that another model answered than the one asked for", ("model",),
            registry=registry,
        )  # fmt: skip
        self._batches = Counter(
            "llm_batches", "Batches by how they ended", ("outcome",), registry=registry
        )
        self._swept = Counter(
            "llm_swept", "Attempts that were never settled, charged by their worst case",
            registry=registry,
        )  # fmt: skip
        self._open = Gauge(
            "llm_circuit_open",
            "1: the provider is left alone for this model",
            _OF,
            registry=registry,
        )
        self._series: dict[tuple[object, tuple[str, ...]], Counter | Gauge | Histogram] = {}

    def swept(self, attempts: int) -> None:
        self._swept.inc(attempts)

    def ended(self, deployment: Deployment, settlement: Settlement) -> None:
        of = (deployment.provider.name, deployment.model)
        self._charged(of, settlement)
        self._at(self._seconds, of).observe(settlement.latency_ms / 1000)
        if settlement.first_token_ms is not None:
            self._at(self._first, of).observe(settlement.first_token_ms / 1000)

    def batch_ended(
        self, provider: str, model: str, outcome: str, settlements: Iterable[Settlement]
    ) -> None:
        """A batch and its lines; how long they took says nothing of the provider."""
        self._batches.labels(outcome).inc()
        for settlement in settlements:
            self._charged((provider, model), settlement)

    def _charged(self, of: tuple[str, str], settlement: Settlement) -> None:
        usage = settlement.usage
        self._at(self._attempts, (*of, settlement.outcome)).inc()
        for kind, count in (
            ("input", usage.input), ("output", usage.output), ("cached", usage.cached),
            ("reasoning", usage.reasoning),
        ):  # fmt: skip
            if count:
                self._at(self._tokens, (*of, kind)).inc(count)
        self._at(self._cost, of).inc(float(settlement.cost))  # also 0: a series to be looked at
        if settlement.outcome == "ok" and settlement.source != "provider":
            self._at(self._disbelieved, of).inc()

    def fell_back(self, model: str) -> None:
        self._fallbacks.labels(model).inc()

    def circuit(self, provider: str, model: str, *, is_open: bool) -> None:
        """As it is after an attempt."""
        self._at(self._open, (provider, model)).set(is_open)

    def _at(self, metric: M, values: tuple[str, ...]) -> M:
        """The series of these values; looking for it among the metric's own takes ten times as long."""
        series = self._series.get((metric, values))
        if series is None:
            if len(self._series) >= _SERIES:
                self._series.clear()
            series = self._series[metric, values] = metric.labels(*values)
        return cast("M", series)

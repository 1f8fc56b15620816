"""What is measured of webhooks."""

from __future__ import annotations

from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry

from shared.telemetry.metrics import LATENCY_BUCKETS, Counter, Gauge, Histogram

# Of an attempt. lost: another process has claimed the delivery meanwhile. postponed: a fault of ours
# kept it from being made.
Outcome = Literal["delivered", "retried", "dead", "gone", "lost", "postponed"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)


class WebhookMetrics:
    """The three gauges are of all organisations, and the same in every replica."""

    def __init__(self, registry: CollectorRegistry) -> None:
        attempts = Counter(
            "webhook_attempts_total", "Attempts to deliver a message, by what came of them",
            ("outcome",), registry=registry,
        )  # fmt: skip
        disabled = Counter(
            "webhook_disabled_total", "Webhooks that were disabled, by why", ("reason",),
            registry=registry,
        )  # fmt: skip
        self.attempts = {outcome: attempts.labels(outcome) for outcome in OUTCOMES}
        self.disabled = {reason: disabled.labels(reason) for reason in ("gone", "failing")}
        self.seconds = Histogram(
            "webhook_attempt_seconds", "How long attempts took, from the look-up of the host on",
            buckets=LATENCY_BUCKETS, registry=registry,
        )  # fmt: skip
        self.dropped = Counter(
            "webhook_dropped_total", "Messages that found the queue of their webhook full",
            registry=registry,
        )  # fmt: skip
        self.open = Gauge(
            "webhook_deliveries_open", "Deliveries that aren't over", registry=registry
        )
        self.late = Gauge(
            "webhook_late_seconds", "How late the delivery is that was due first", registry=registry
        )
        self.dead = Gauge(
            "webhook_deliveries_dead", "Deliveries that died within 24 hours and weren't replayed",
            registry=registry,
        )  # fmt: skip

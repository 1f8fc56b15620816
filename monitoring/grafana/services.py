"""What each service's dashboard shows: panels of its own, and those that every service has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from monitoring.grafana.panel import Panel, Query
from monitoring.grafana.queries import RATE, p95, per_hour, rate


def of_every_service(name: str) -> tuple[Panel, ...]:
    own = f'job="looma",service="{name}"'
    return (
        Panel(
            "Requests by route", "What it answered, as it counts itself.", "reqps",
            [Query(rate("http_requests_total", own, "method, route"), "{{method}} {{route}}")],
        ),
        Panel(
            "Errors", "Share of its answers that were 5xx, over five minutes.", "percentunit",
            [Query(f'service:errors:ratio5m{{service="{name}"}}', "5xx")], 0.05, alerts=["ServiceErrors"],
        ),
        Panel(
            "p95 by route", "95th percentile of its own time.", "s",
            [Query(p95("http_request_duration_seconds", own, "method, route"), "{{method}} {{route}}")],
            5, alerts=["ServiceSlow"],
        ),
        Panel(
            "Requests being answered", "By process.", "short",
            [Query(f"http_requests_in_flight{{{own}}}", "{{instance}}")],
        ),
        Panel(
            "Processor", "Time that each process uses of the one core that it can use.", "percentunit",
            [Query(f"rate(process_cpu_seconds_total{{{own}}}[{RATE}])", "{{instance}}")], 0.8, alerts=["ServiceCpuHigh"],
        ),
        Panel(
            "Memory", "Resident memory of each process.", "bytes",
            [Query(f"process_resident_memory_bytes{{{own}}}", "{{instance}}")],
        ),
        Panel(
            "Stores", "1 where the store answers this service, as far as it knows.", "short",
            [Query(f"min by (store) (store_up{{{own}}})", "{{store}}")], 1, below=True, alerts=["StoreDown"],
        ),
        Panel(
            "Connections to PostgreSQL", "In use and waited for, by process.", "short",
            [
                Query(f"postgres_connections_in_use{{{own}}}", "{{instance}} in use"),
                Query(f"postgres_connections_waiters{{{own}}}", "{{instance}} waiting"),
                Query(f"postgres_connections_max{{{own}}}", "{{instance}} at most"),
            ],
            alerts=["ConnectionsExhausted"],
        ),
    )  # fmt: skip


OWN: Final[Mapping[str, Sequence[Panel]]] = {
    "auth": (
        Panel(
            "Sign-ins", "Sign-ins and renewals by status; 401 is a wrong password.", "reqps",
            [Query(rate("http_requests_total", 'job="looma",service="auth",route=~"/api/v1/auth/(login|refresh)"', "route, status"), "{{route}} {{status}}")],
            alerts=["SignInFails"],
        ),
        Panel(
            "Age of the signing keys", "Since each gateway last fetched them; at 65 minutes it verifies no token any more.", "s",
            [Query('gateway_signing_keys_age_seconds{job="looma"}', "{{instance}}")], 600, alerts=["SigningKeysOld"],
        ),
        Panel(
            "Age of the revocations", "Since each gateway last heard who may no longer come in.", "s",
            [Query('gateway_revocations_age_seconds{job="looma"}', "{{instance}}")], 60, alerts=["RevocationsOld"],
        ),
        Panel(
            "Since the last rotation", "Age of the key that signs access tokens; `looma keys rotate` makes a new one.", "s",
            [Query('max(auth_signing_key_age_seconds{job="looma"})', "signing key")], 15_552_000, alerts=["SigningKeyNotRotated"],
        ),
        Panel(
            "API keys that end soon", "Keys that were made for more than a month and end within a week.", "short",
            [Query('max(auth_api_keys_expiring{job="looma"})', "keys")], 1, alerts=["ApiKeysExpire"],
        ),
    ),
    "enrichment": (
        Panel(
            "Oldest transcript that waits", "Age of the oldest transcript that nobody has analysed.", "s",
            [Query('max(enrichment_lag_seconds{job="looma"})', "waits")], 300, alerts=["EnrichmentBehind"],
        ),
        Panel(
            "Transcripts analysed", "By analyser.", "ops",
            [Query(rate("enrichment_analysed_total", 'job="looma"', "analyzer"), "{{analyzer}}")],
        ),
        Panel(
            "Analyses in vain", "Not saved: the call was claimed by another worker, or its transcript corrected.", "ops",
            [Query('sum(rate(enrichment_analyses_discarded_total{job="looma"}[$__rate_interval])) or vector(0)', "discarded")],
            alerts=["AnalysesDiscarded"],
        ),
        Panel(
            "Who judges", "Transcripts judged, by the step of the chain: a kept verdict, nothing to judge, words alone, a model; fallback: words alone, until a model has.", "ops",
            [Query(rate("analysis_judged_total", 'job="looma"', "outcome"), "{{outcome}}")],
        ),
        Panel(
            "Requests for analysis", "To models, by what became of them.", "reqps",
            [Query(rate("analysis_requests_total", 'job="looma"', "outcome") + " or vector(0)", "{{outcome}}")],
        ),
        Panel(
            "Calls that wait for a model", "Their local verdict holds until then.", "short",
            [Query('max(analysis_degraded_calls{job="looma"})', "wait")], 100, alerts=["AnalysisDegraded"],
        ),
        Panel(
            "Dead letters of the analysis", "Calls that no answer of a model fitted, until they are replayed.", "short",
            [Query('max(analysis_dead_letter_calls{job="looma"})', "dead")], 10, alerts=["AnalysisDeadLetters"],
        ),
        Panel(
            "What models made up", "Quotes that nobody said, and ids that are wrong, a second.", "ops",
            [
                Query('sum(rate(analysis_quotes_dropped_total{job="looma"}[$__rate_interval])) or vector(0)', "quotes"),
                Query('sum(rate(analysis_wrong_ids_total{job="looma"}[$__rate_interval])) or vector(0)', "ids"),
            ],
        ),
        Panel(
            "Rows of sources", "Read of connected systems or sent by them, by what became of them.", "ops",
            [Query(rate("source_rows_total", 'job="looma"', "source, outcome") + " or vector(0)", "{{source}} {{outcome}}")],
        ),
        Panel(
            "Since sources were read", "To their end; at 26 hours a night is missing.", "s",
            [Query('time() - max by (source) (source_synced_timestamp_seconds{job="looma"}) or vector(0)', "{{source}}")],
            93_600, alerts=["SourceStale"],
        ),
        Panel(
            "Sources that fail", "Times that a source, or a table of it, could not be read, or a message was refused, per hour.", "short",
            [Query('sum by (source, reason) (increase(source_errors_total{job="looma"}[1h])) or vector(0)', "{{source}} {{reason}}")],
        ),
        Panel(
            "Calls brought in", "Batches of calls by status.", "reqps",
            [Query(rate("http_requests_total", 'job="looma",service="enrichment",method="POST",route="/api/v1/calls"', "status"), "{{status}}")],
            alerts=["CallsRefused"],
        ),
    ),
    "portrait": (
        Panel(
            "Computing", "Jobs at which somebody worked, and attempts that failed, per hour, by name.", "short",
            [
                Query(per_hour("job_duration_seconds_count", "portrait"), "{{job_type}}"),
                Query(per_hour("job_failures_total", "portrait"), "{{job_type}} failed"),
            ],
            alerts=["ComputeFails"],
        ),
        Panel(
            "Freshness", "Age of the oldest change of a call that is in no portrait yet.", "s",
            [Query('max(portrait_freshness_seconds{job="looma"})', "behind")], 60, alerts=["PortraitsBehind"],
        ),
        Panel(
            "Counting", "Changes of calls that were counted in portraits.", "ops",
            [Query('sum(rate(portrait_changes_counted_total{job="looma"}[$__rate_interval])) or vector(0)', "counted")],
        ),
        Panel(
            "Reading", "Portraits, summaries and trends by status.", "reqps",
            [Query(rate("http_requests_total", 'job="looma",service="portrait",method="GET"', "status"), "{{status}}")],
            alerts=["PortraitsUnreadable"],
        ),
        Panel(
            "Kept answers", "Look-ups by what came of them; `away` is Redis, without which each answer is made anew.", "reqps",
            [Query(rate("portrait_answers_cache_total", 'job="looma"', "outcome"), "{{outcome}}")],
        ),
    ),
    "llm": (
        Panel(
            "Attempts by outcome", "Requests to providers by how they ended; `unknown` are those that were never settled.", "reqps",
            [Query(rate("llm_attempts_total", 'job="looma"', "provider, outcome"), "{{provider}} {{outcome}}")],
            alerts=["ModelsFail"],
        ),
        Panel(
            "Money", "Charged per hour, in the currency of the models file, by model.", "short",
            [Query('sum by (model) (rate(llm_cost_total{job="looma"}[$__rate_interval])) * 3600', "{{model}}")],
        ),
        Panel(
            "Tokens", "Tokens per second by kind; cached ones are part of the input, reasoning part of the output.", "short",
            [Query(rate("llm_tokens_total", 'job="looma"', "kind"), "{{kind}}")],
        ),
        Panel(
            "p95 of an attempt", "From a request to a provider to the end of its answer.", "s",
            [Query(p95("llm_attempt_seconds", 'job="looma"', "provider, model"), "{{provider}} {{model}}")], 60,
        ),
        Panel(
            "p95 to the first token", "Of streamed answers.", "s",
            [Query(p95("llm_first_token_seconds", 'job="looma"', "provider, model"), "{{provider}} {{model}}")], 10,
        ),
        Panel(
            "Circuits", "1: the provider is left alone for this model.", "short",
            [Query('max by (provider, model) (llm_circuit_open{job="looma"})', "{{provider}} {{model}}")], 1,
            alerts=["ModelsFail"],
        ),
        Panel(
            "Charged without knowing", "Attempts that were never settled and are charged with their worst case.", "short",
            [Query('sum(increase(llm_swept_total{job="looma"}[1h])) or vector(0)', "in the last hour")], 1,
            alerts=["SpendUnknown"],
        ),
        Panel(
            "Batches", "Batches of requests by how they ended, per hour; those that ended well are `completed`.", "short",
            [Query('sum by (outcome) (rate(llm_batches_total{job="looma"}[$__rate_interval])) * 3600 or vector(0)', "{{outcome}}")],
        ),
    ),
    "monitor": (
        Panel(
            "Jobs that died", "Within 24 hours, and not retried, by name.", "short",
            [Query('max by (job_type) (jobs_dead{job="looma"}) or vector(0)', "{{job_type}}")], 1,
            alerts=["JobsDead"],
        ),
        Panel(
            "Jobs that wait for a place", "Jobs that could begin now, by name.", "short",
            [Query('max by (job_type) (jobs_queued{job="looma"})', "{{job_type}}")],
        ),
        Panel(
            "Oldest job that waits", "Since when it could begin; rises where there are too few places, or no replica.", "s",
            [Query('max by (job_type) (oldest_queued_seconds{job="looma"})', "{{job_type}}")], 3600,
        ),
        Panel(
            "How long jobs are worked on", "95th percentile of a claim over an hour, whatever came of it.", "s",
            [Query('histogram_quantile(0.95, sum by (job_type, le) (rate(job_duration_seconds_bucket{job="looma"}[1h])))', "{{job_type}}")],
        ),
        Panel(
            "Attempts at webhooks", "Messages that are sent to organisations, by what came of the attempt.", "ops",
            [Query(rate("webhook_attempts_total", 'job="looma"', "outcome"), "{{outcome}}")],
        ),
        Panel(
            "p95 of an attempt at a webhook", "How long attempts took, from the look-up of the host on; 16 s at most.", "s",
            [Query(f'histogram_quantile(0.95, sum by (le) (rate(webhook_attempt_seconds_bucket{{job="looma"}}[{RATE}])))', "p95")], 10,
        ),
        Panel(
            "Messages given up", "To webhooks, within 24 hours, and not sent again since.", "short",
            [Query('max(webhook_deliveries_dead{job="looma"}) or vector(0)', "given up")], 1,
            alerts=["WebhooksDead"],
        ),
        Panel(
            "Messages that wait", "Deliveries to webhooks that aren't over, later attempts included.", "short",
            [Query('max(webhook_deliveries_open{job="looma"})', "open")],
        ),
        Panel(
            "How late messages are", "Since when the delivery is due that was due first.", "s",
            [Query('max(webhook_late_seconds{job="looma"})', "late")], 600, alerts=["WebhooksLate"],
        ),
        Panel(
            "Messages dropped", "The queue of their webhook was full.", "short",
            [Query('sum(increase(webhook_dropped_total{job="looma"}[15m])) or vector(0)', "in 15 minutes")], 1,
            alerts=["WebhooksDropped"],
        ),
        Panel(
            "Messages postponed", "A fault of our own kept them from being sent.", "short",
            [Query('sum(increase(webhook_attempts_total{job="looma",outcome="postponed"}[15m])) or vector(0)', "in 15 minutes")], 1,
            alerts=["WebhooksPostponed"],
        ),
    ),
}  # fmt: skip

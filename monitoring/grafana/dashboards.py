"""The dashboards: what of the platform is looked at together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from monitoring.grafana.organisations import organisations
from monitoring.grafana.panel import Panel, Query, board
from shared.services import SERVICE_NAMES

_API: Final = 'job="looma",service="gateway",route=~"/api/.+"'
_RATE: Final = "$__rate_interval"


def _p95(metric: str, selector: str, by: str) -> str:
    buckets = f"rate({metric}_bucket{{{selector}}}[{_RATE}])"
    return f"histogram_quantile(0.95, sum by ({by}, le) ({buckets}))"


def _rate(metric: str, selector: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{selector}}}[{_RATE}]))"


def _per_hour(metric: str, service: str) -> str:
    return f'sum by (job_type) (rate({metric}{{job="looma",service="{service}"}}[{_RATE}])) * 3600'


# -- the platform at a glance --------------------------------------------------------------------

_PROMISES: Final = (
    Panel(
        "Alerts that fire", "How many alerts fire at the moment.", "short",
        [Query('count(ALERTS{alertstate="firing"}) or vector(0)', "firing")], 1, now=True,
    ),
    Panel(
        "Services", "1 where somebody answers under the name of the service, 0 where nobody does.", "short",
        [Query('max by (service) (up{job="services"})', "{{service}}")], 1, below=True, now=True,
        alerts=["ServiceDown"],
    ),
    Panel(
        "Errors of the API", "Share of the API's requests that were answered with 5xx, over five minutes.", "percentunit",
        [Query("gateway:errors:ratio5m", "5xx")], 0.05, alerts=["ApiErrors"],
    ),
    Panel(
        "Slowest twentieth", "95th percentile of the time from a request's head to the end of its answer.", "s",
        [Query("gateway:duration_seconds:p95_5m", "p95")], 5, alerts=["ApiSlow"],
    ),
    Panel(
        "How fast the error budget burns",
        "Failed requests as a multiple of the 0.1 % that the objective allows: at 1 the month's budget lasts the month.",
        "short",
        [
            Query("gateway:errors:ratio1h / 0.001", "over an hour"),
            Query("gateway:errors:ratio6h / 0.001", "over six hours"),
            Query("gateway:errors:ratio3d / 0.001", "over three days"),
        ],
        14.4, alerts=["ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly"],
    ),
    Panel(
        "Requests", "Requests to each process's API; the gateway's are those of clients.", "reqps",
        [Query("service:requests:rate5m", "{{service}}")],
    ),
)  # fmt: skip
_PROCESSES: Final = (
    Panel(
        "Instances", "Processes of each service that can be scraped.", "short",
        [Query('count by (service) (up{job="looma"} == 1)', "{{service}}")], alerts=["NothingScraped", "TargetDown"],
    ),
    Panel(
        "Starts", "How often processes were started again in the last quarter of an hour.", "short",
        [Query('max by (service) (changes(process_start_time_seconds{job="looma"}[15m]))', "{{service}}")],
        2, alerts=["ServiceRestarts"],
    ),
    Panel(
        "Processor", "Time that each process uses of one core; the gateway's is that of all its workers.", "percentunit",
        [Query(f'rate(process_cpu_seconds_total{{job="looma"}}[{_RATE}])', "{{service}} {{instance}}")],
        0.8, alerts=["ServiceCpuHigh"],
    ),
    Panel(
        "Memory", "Resident memory of each process.", "bytes",
        [Query('process_resident_memory_bytes{job="looma"}', "{{service}} {{instance}}")],
    ),
)  # fmt: skip
_MACHINES: Final = (
    Panel(
        "Processor of machines", "Share of the processor time that is in use.", "percentunit",
        [Query(f'1 - avg by (instance) (rate(node_cpu_seconds_total{{job="machine",mode="idle"}}[{_RATE}]))', "{{instance}}")],
        0.8, alerts=["MachineCpuHigh"],
    ),
    Panel(
        "Memory of machines", "Share of the memory that nobody could get any more.", "percentunit",
        [Query('1 - node_memory_MemAvailable_bytes{job="machine"} / node_memory_MemTotal_bytes{job="machine"}', "{{instance}}")],
        0.85, alerts=["MachineMemoryHigh"],
    ),
    Panel(
        "Disks of machines", "How full each file system is.", "percentunit",
        [Query(
            '1 - node_filesystem_avail_bytes{job="machine",fstype!~"tmpfs|ramfs|overlay|squashfs"} '
            '/ node_filesystem_size_bytes{job="machine",fstype!~"tmpfs|ramfs|overlay|squashfs"}',
            "{{instance}} {{mountpoint}}",
        )],
        0.9, alerts=["MachineDiskFull"],
    ),
)  # fmt: skip
_LASTING: Final = (
    Panel(
        "Age of the newest backup", "Since docker/backup.sh last made one and found it whole, on any machine.", "s",
        [Query('time() - max(looma_backup_last_success_timestamp_seconds{job="machine"})', "age")],
        108_000, alerts=["BackupOld", "BackupMissing"],
    ),
    Panel(
        "Size of the newest backup", "It grows slowly; one that is much smaller than the one before wants an explanation.", "bytes",
        [Query('looma_backup_size_bytes{job="machine"}', "{{instance}}")], alerts=["BackupOld"],
    ),
    Panel(
        "Certificates", "Time until the first certificate of each address in targets/certificates.yml ends.", "s",
        [Query('probe_ssl_earliest_cert_expiry{job="certificates"} - time()', "{{instance}}")], 1_209_600, below=True,
        alerts=["CertificateExpires"],
    ),
    Panel(
        "Addresses without a valid certificate", "1 where the handshake succeeds, 0 where it doesn't.", "short",
        [Query('probe_success{job="certificates"}', "{{instance}}")], 1, below=True, alerts=["CertificateRefused"],
    ),
)  # fmt: skip

# -- the gateway ---------------------------------------------------------------------------------

_TRAFFIC: Final = (
    Panel(
        "Requests by status", "Requests to the API by the status of their answers; 499: the client left first.", "reqps",
        [Query(_rate("http_requests_total", _API, "status"), "{{status}}")],
    ),
    Panel(
        "Requests by route", "The ten busiest routes.", "reqps",
        [Query(f"topk(10, {_rate('http_requests_total', _API, 'method, route')})", "{{method}} {{route}}")],
    ),
    Panel(
        "p95 by route", "The ten routes whose slowest twentieth takes longest.", "s",
        [Query(f"topk(10, {_p95('http_request_duration_seconds', _API, 'method, route')})", "{{method}} {{route}}")],
        5, alerts=["ApiSlow"],
    ),
    Panel(
        "The gateway's own part", "95th percentile of the time that the gateway itself adds until an answer begins.", "s",
        [Query(_p95("gateway_overhead_seconds", 'job="looma"', "instance"), "{{instance}}")],
    ),
)  # fmt: skip
_UPSTREAMS: Final = (
    Panel(
        "p95 of services", "From a request sent to the head of the service's answer.", "s",
        [Query(_p95("upstream_request_duration_seconds", 'job="looma"', "upstream"), "{{upstream}}")], 5,
    ),
    Panel(
        "Instances known", "Instances of each service that the gateway can ask.", "short",
        [Query('min by (upstream) (gateway_upstream_instances{job="looma"})', "{{upstream}}")], 1, below=True,
        alerts=["NoInstance"],
    ),
    Panel(
        "Circuits", "0 closed, 1 half-open, 2 open: the instance is left alone.", "short",
        [Query('max by (upstream, upstream_instance) (circuit_state{job="looma"})', "{{upstream}} {{upstream_instance}}")],
        2, alerts=["CircuitOpen"],
    ),
    Panel(
        "Asked again", "Retries, hedges and ejections: they rise when a service is flaky.", "ops",
        [
            Query(_rate("gateway_retries_total", 'job="looma"', "upstream"), "{{upstream}} retried"),
            Query(_rate("gateway_hedges_total", 'job="looma"', "upstream"), "{{upstream}} hedged"),
            Query(_rate("gateway_ejections_total", 'job="looma"', "upstream"), "{{upstream}} ejected"),
        ],
    ),
    Panel(
        "Requests that services work on", "At `shedding.limit` of a service further ones are turned away.", "short",
        [Query('sum by (upstream) (gateway_upstream_in_flight{job="looma"})', "{{upstream}}")],
    ),
    Panel(
        "Turned away for load", "Requests that were answered 503, as their service had enough; batch goes first.", "reqps",
        [Query(_rate("gateway_shed_total", 'job="looma"', "upstream, priority"), "{{upstream}} {{priority}}")],
        0.1, alerts=["RequestsShed"],
    ),
)  # fmt: skip
_LIMITS: Final = (
    Panel(
        "Counted alone", "1 while a gateway can't ask Redis and applies its part of every limit.", "short",
        [Query('max by (instance) (rate_limit_degraded{job="looma"})', "{{instance}}")], 1, alerts=["RateLimiterDegraded"],
    ),
    Panel(
        "Questions to the shared counts", "Most requests are counted from a lease and ask nobody.", "ops",
        [Query(_rate("rate_limit_round_trips_total", 'job="looma"', "instance"), "{{instance}}")],
    ),
    Panel(
        "Open files", "Share of the file descriptors that are in use.", "percentunit",
        [Query('process_open_fds{job="looma",service="gateway"} / process_max_fds{job="looma",service="gateway"}', "{{instance}}")],
        0.8, alerts=["FilesScarce"],
    ),
    Panel(
        "Streams", "Open streams, WebSockets among them.", "short",
        [Query('sum by (upstream) (gateway_streams_in_flight{job="looma"})', "{{upstream}}")],
    ),
)  # fmt: skip

# -- services ------------------------------------------------------------------------------------


def _of_every_service(name: str) -> tuple[Panel, ...]:
    own = f'job="looma",service="{name}"'
    return (
        Panel(
            "Requests by route", "What it answered, as it counts itself.", "reqps",
            [Query(_rate("http_requests_total", own, "method, route"), "{{method}} {{route}}")],
        ),
        Panel(
            "Errors", "Share of its answers that were 5xx, over five minutes.", "percentunit",
            [Query(f'service:errors:ratio5m{{service="{name}"}}', "5xx")], 0.05, alerts=["ServiceErrors"],
        ),
        Panel(
            "p95 by route", "95th percentile of its own time.", "s",
            [Query(_p95("http_request_duration_seconds", own, "method, route"), "{{method}} {{route}}")],
            5, alerts=["ServiceSlow"],
        ),
        Panel(
            "Requests being answered", "By process.", "short",
            [Query(f"http_requests_in_flight{{{own}}}", "{{instance}}")],
        ),
        Panel(
            "Processor", "Time that each process uses of the one core that it can use.", "percentunit",
            [Query(f"rate(process_cpu_seconds_total{{{own}}}[{_RATE}])", "{{instance}}")], 0.8, alerts=["ServiceCpuHigh"],
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


_OWN: Final[Mapping[str, Sequence[Panel]]] = {
    "auth": (
        Panel(
            "Sign-ins", "Sign-ins and renewals by status; 401 is a wrong password.", "reqps",
            [Query(_rate("http_requests_total", 'job="looma",service="auth",route=~"/api/v1/auth/(login|refresh)"', "route, status"), "{{route}} {{status}}")],
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
            [Query(_rate("enrichment_analysed_total", 'job="looma"', "analyzer"), "{{analyzer}}")],
        ),
        Panel(
            "Analyses in vain", "Not saved: the call was claimed by another worker, or its transcript corrected.", "ops",
            [Query('sum(rate(enrichment_analyses_discarded_total{job="looma"}[$__rate_interval])) or vector(0)', "discarded")],
            alerts=["AnalysesDiscarded"],
        ),
        Panel(
            "Who judges", "Transcripts judged, by the step of the chain: a kept verdict, nothing to judge, words alone, a model; fallback: words alone, until a model has.", "ops",
            [Query(_rate("analysis_judged_total", 'job="looma"', "outcome"), "{{outcome}}")],
        ),
        Panel(
            "Requests for analysis", "To models, by what became of them.", "reqps",
            [Query(_rate("analysis_requests_total", 'job="looma"', "outcome"), "{{outcome}}")],
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
            [Query(_rate("source_rows_total", 'job="looma"', "source, outcome"), "{{source}} {{outcome}}")],
        ),
        Panel(
            "Since sources were read", "To their end; at 26 hours a night is missing.", "s",
            [Query('time() - max by (source) (source_synced_timestamp_seconds{job="looma"})', "{{source}}")],
            93_600, alerts=["SourceStale"],
        ),
        Panel(
            "Sources that fail", "Times that a source, or a table of it, could not be read, or a message was refused, per hour.", "short",
            [Query('sum by (source, reason) (increase(source_errors_total{job="looma"}[1h]))', "{{source}} {{reason}}")],
        ),
        Panel(
            "Calls brought in", "Batches of calls by status.", "reqps",
            [Query(_rate("http_requests_total", 'job="looma",service="enrichment",method="POST",route="/api/v1/calls"', "status"), "{{status}}")],
            alerts=["CallsRefused"],
        ),
    ),
    "portrait": (
        Panel(
            "Computing", "Jobs at which somebody worked, and attempts that failed, per hour, by name.", "short",
            [
                Query(_per_hour("job_duration_seconds_count", "portrait"), "{{job_type}}"),
                Query(_per_hour("job_failures_total", "portrait"), "{{job_type}} failed"),
            ],
            alerts=["ComputeFails"],
        ),
        Panel(
            "Reading", "Portraits, summaries and trends by status.", "reqps",
            [Query(_rate("http_requests_total", 'job="looma",service="portrait",method="GET"', "status"), "{{status}}")],
            alerts=["PortraitsUnreadable"],
        ),
    ),
    "llm": (
        Panel(
            "Attempts by outcome", "Requests to providers by how they ended; `unknown` are those that were never settled.", "reqps",
            [Query(_rate("llm_attempts_total", 'job="looma"', "provider, outcome"), "{{provider}} {{outcome}}")],
            alerts=["ModelsFail"],
        ),
        Panel(
            "Money", "Charged per hour, in the currency of the models file, by model.", "short",
            [Query('sum by (model) (rate(llm_cost_total{job="looma"}[$__rate_interval])) * 3600', "{{model}}")],
        ),
        Panel(
            "Tokens", "Tokens per second by kind; cached ones are part of the input, reasoning part of the output.", "short",
            [Query(_rate("llm_tokens_total", 'job="looma"', "kind"), "{{kind}}")],
        ),
        Panel(
            "p95 of an attempt", "From a request to a provider to the end of its answer.", "s",
            [Query(_p95("llm_attempt_seconds", 'job="looma"', "provider, model"), "{{provider}} {{model}}")], 60,
        ),
        Panel(
            "p95 to the first token", "Of streamed answers.", "s",
            [Query(_p95("llm_first_token_seconds", 'job="looma"', "provider, model"), "{{provider}} {{model}}")], 10,
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
            [Query(_rate("webhook_attempts_total", 'job="looma"', "outcome"), "{{outcome}}")],
        ),
        Panel(
            "p95 of an attempt at a webhook", "How long attempts took, from the look-up of the host on; 16 s at most.", "s",
            [Query(f'histogram_quantile(0.95, sum by (le) (rate(webhook_attempt_seconds_bucket{{job="looma"}}[{_RATE}])))', "p95")], 10,
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

# -- stores and projections ----------------------------------------------------------------------

_STORES: Final = (
    Panel(
        "Stores that answer", "1 where a service gets answers from the store, as far as it knows.", "short",
        [Query('min by (service, store) (store_up{job="looma"})', "{{service}} {{store}}")], 1, below=True,
        alerts=["StoreDown"],
    ),
    Panel(
        "Refused calls", "Calls that were refused at once, as the store didn't answer others.", "ops",
        [Query(_rate("store_refused_total", 'job="looma"', "service, store"), "{{service}} {{store}}")],
    ),
    Panel(
        "Connections in use", "Share of its connections to PostgreSQL that a process has in use.", "percentunit",
        [Query('postgres_connections_in_use{job="looma"} / postgres_connections_max{job="looma"}', "{{service}} {{instance}}")],
        0.9, alerts=["ConnectionsExhausted"],
    ),
    Panel(
        "Waiting for a connection", "Transactions that wait; after 2 s they are refused with 503.", "short",
        [Query('postgres_connections_waiters{job="looma"}', "{{service}} {{instance}}")], 1,
        alerts=["ConnectionsExhausted"],
    ),
)  # fmt: skip
_PROJECTIONS: Final = (
    Panel(
        "Events that wait", "The outbox: what has happened and is not in the projection yet.", "short",
        [Query('max by (projection) (outbox_depth{job="looma"})', "{{projection}}")], 10_000, alerts=["OutboxDeep"],
    ),
    Panel(
        "Age of the oldest event", "How far a projection is behind the truth.", "s",
        [Query('max by (projection) (outbox_lag_seconds{job="looma"})', "{{projection}}")], 300, alerts=["ProjectionBehind"],
    ),
    Panel(
        "Dead letters", "Events that failed five times and wait for somebody to look at them.", "short",
        [Query('max by (projection) (outbox_dead_letters{job="looma"})', "{{projection}}")], 1, alerts=["DeadLetters"],
    ),
)  # fmt: skip


def _overview() -> str:
    rows = {
        "Promises": _PROMISES,
        "Processes": _PROCESSES,
        "Machines": _MACHINES,
        "Backups and certificates": _LASTING,
    }
    return board("overview", "Looma: overview", "How the platform is doing.", rows)


def _gateway() -> str:
    rows = {"Traffic": _TRAFFIC, "Services": _UPSTREAMS, "Limits": _LIMITS}
    return board("gateway", "Looma: gateway", "What clients meet, and who answers them.", rows)


def _service(name: str) -> str:
    rows: dict[str, Sequence[Panel]] = {"Process": _of_every_service(name)}
    if name in _OWN:
        rows = {"What it is for": _OWN[name], **rows}
    return board(name, f"Looma: {name}", f"The service {name}.", rows)


def _stores() -> str:
    rows = {"Stores": _STORES, "Projections": _PROJECTIONS}
    return board("stores", "Looma: stores and projections", "Where the data is.", rows)


def dashboards() -> dict[str, str]:
    """File name without its ending → JSON. A new service has one without a line here."""
    return {
        "overview": _overview(),
        "gateway": _gateway(),
        **{name: _service(name) for name in SERVICE_NAMES},
        "organisations": organisations(),
        "stores": _stores(),
    }

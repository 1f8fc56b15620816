"""The dashboards: what of the platform is looked at together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from monitoring.grafana.organisations import organisations
from monitoring.grafana.panel import Panel, Query, board
from monitoring.grafana.queries import RATE, p95, rate
from monitoring.grafana.services import OWN, of_every_service
from shared.services import SERVICE_NAMES

_API: Final = 'job="looma",service="gateway",route=~"/api/.+"'
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
        [Query(f'rate(process_cpu_seconds_total{{job="looma"}}[{RATE}])', "{{service}} {{instance}}")],
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
        [Query(f'1 - avg by (instance) (rate(node_cpu_seconds_total{{job="machine",mode="idle"}}[{RATE}]))', "{{instance}}")],
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
        [Query(rate("http_requests_total", _API, "status"), "{{status}}")],
    ),
    Panel(
        "Requests by route", "The ten busiest routes.", "reqps",
        [Query(f"topk(10, {rate('http_requests_total', _API, 'method, route')})", "{{method}} {{route}}")],
    ),
    Panel(
        "p95 by route", "The ten routes whose slowest twentieth takes longest.", "s",
        [Query(f"topk(10, {p95('http_request_duration_seconds', _API, 'method, route')})", "{{method}} {{route}}")],
        5, alerts=["ApiSlow"],
    ),
    Panel(
        "The gateway's own part", "95th percentile of the time that the gateway itself adds until an answer begins.", "s",
        [Query(p95("gateway_overhead_seconds", 'job="looma"', "instance"), "{{instance}}")],
    ),
)  # fmt: skip
_UPSTREAMS: Final = (
    Panel(
        "p95 of services", "From a request sent to the head of the service's answer.", "s",
        [Query(p95("upstream_request_duration_seconds", 'job="looma"', "upstream"), "{{upstream}}")], 5,
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
            Query(rate("gateway_retries_total", 'job="looma"', "upstream"), "{{upstream}} retried"),
            Query(rate("gateway_hedges_total", 'job="looma"', "upstream"), "{{upstream}} hedged"),
            Query(rate("gateway_ejections_total", 'job="looma"', "upstream"), "{{upstream}} ejected"),
        ],
    ),
    Panel(
        "Requests that services work on", "At `shedding.limit` of a service further ones are turned away.", "short",
        [Query('sum by (upstream) (gateway_upstream_in_flight{job="looma"})', "{{upstream}}")],
    ),
    Panel(
        "Turned away for load", "Requests that were answered 503, as their service had enough; batch goes first.", "reqps",
        [Query(rate("gateway_shed_total", 'job="looma"', "upstream, priority"), "{{upstream}} {{priority}}")],
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
        [Query(rate("rate_limit_round_trips_total", 'job="looma"', "instance"), "{{instance}}")],
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

# -- stores and projections ----------------------------------------------------------------------

_STORES: Final = (
    Panel(
        "Stores that answer", "1 where a service gets answers from the store, as far as it knows.", "short",
        [Query('min by (service, store) (store_up{job="looma"})', "{{service}} {{store}}")], 1, below=True,
        alerts=["StoreDown"],
    ),
    Panel(
        "Refused calls", "Calls that were refused at once, as the store didn't answer others.", "ops",
        [Query(rate("store_refused_total", 'job="looma"', "service, store"), "{{service}} {{store}}")],
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
    rows: dict[str, Sequence[Panel]] = {"Process": of_every_service(name)}
    if name in OWN:
        rows = {"What it is for": OWN[name], **rows}
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

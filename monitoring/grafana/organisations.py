"""The dashboard of one organisation, which is chosen at its head: what it asks, and what it gets.

Each process labels its busiest organisations only (METRICS_ORGANISATIONS), the others count
together as `other`, which can be chosen like one of them.
"""

from __future__ import annotations

from typing import Final

from monitoring.grafana.panel import Choice, Panel, Query, board
from monitoring.grafana.queries import RATE

_ALL: Final = 'job="looma"'
_CHOSEN: Final = 'job="looma",organisation="$organisation"'
_FAILED: Final = f'{_CHOSEN},status=~"5.."'
_LIMITED: Final = f'{_CHOSEN},status="429"'
_REJECTED: Final = f'{_CHOSEN},outcome="rejected"'
_OTHER: Final = 'job="looma",organisation="other"'
_NAMES: Final = f"max by (organisation, slug) (organisation_info{{{_ALL}}})"
_ASKING: Final = f"sum by (organisation) (organisation_requests_total{{{_ALL}}})"
_NOT_OTHER: Final = f'{_ALL},organisation!="other"'

# Shown by their short names; by their ids where auth has told none.
ORGANISATION: Final = Choice(
    "organisation", "Organisation",
    f"query_result(({_NAMES} and on (organisation) {_ASKING}) or ({_ASKING} unless on (organisation) {_NAMES}))",
    '/organisation="(?<value>[^"]+)|slug="(?<text>[^"]+)/g',
)  # fmt: skip


def _named(ranking: str) -> str:
    return f"{ranking} * on (organisation) group_left (slug) {_NAMES}"


def _sum(metric: str, selector: str, by: str = "") -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{{{selector}}}[{RATE}]))"


_ONE: Final = (
    Panel(
        "Requests by status", "What it asked of the API, by the status of the answers; 499: the client left first.", "reqps",
        [Query(_sum("organisation_requests_total", _CHOSEN, "status"), "{{status}}")],
    ),
    Panel(
        "Errors", "Share of its requests that were answered with 5xx; the line is where the whole API raises an alert.", "percentunit",
        [Query(
            f'({_sum("organisation_requests_total", _FAILED)} or vector(0)) '
            f'/ {_sum("organisation_requests_total", _CHOSEN)}', "5xx",
        )],
        0.05, alerts=["ApiErrors"],
    ),
    Panel(
        "Latency", "From a request's head to the end of its answer: the half and the slowest twentieth.", "s",
        [
            Query(f"histogram_quantile({share}, sum by (le) (rate(organisation_request_duration_seconds_bucket{{{_CHOSEN}}}[{RATE}])))", name)
            for share, name in ((0.5, "p50"), (0.95, "p95"))
        ],
        5, alerts=["ApiSlow"],
    ),
    Panel(
        "Limits reached", "Requests that were answered 429: over a limit of the caller's role, of the route or of the organisation.", "reqps",
        [Query(f'{_sum("organisation_requests_total", _LIMITED)} or vector(0)', "429")], 1,
    ),
)  # fmt: skip
_DATA: Final = (
    Panel(
        "Calls brought in", "Records sent to POST /api/v1/calls by what became of them; `looma import` counts for whoever runs it.", "ops",
        [Query(_sum("organisation_calls_total", _CHOSEN, "outcome"), "{{outcome}}")], alerts=["CallsRefused"],
    ),
    Panel(
        "Rejected rows", "Share of the records sent that were refused; GET /api/v1/imports tells which and why.", "percentunit",
        [Query(
            f'({_sum("organisation_calls_total", _REJECTED)} or vector(0)) '
            f'/ {_sum("organisation_calls_total", _CHOSEN)}', "rejected",
        )],
        0.05,
    ),
    Panel(
        "Calls analysed", "Transcripts whose sentiment and risks were judged.", "ops",
        [Query(_sum("organisation_calls_analysed_total", _CHOSEN), "analysed")], alerts=["EnrichmentBehind"],
    ),
    Panel(
        "Portraits", "Portraits of its users that are kept, over all weeks, months and quarters.", "short",
        [Query(f"max(organisation_portraits{{{_CHOSEN}}})", "kept")], alerts=["ComputeFails"],
    ),
)  # fmt: skip
_COMPARED: Final = (
    Panel(
        "Who asks most", 'The ten busiest organisations, and as "other" all that have no series of their own (METRICS_ORGANISATIONS).', "reqps",
        [
            Query(_named(f"topk(10, {_sum('organisation_requests_total', _NOT_OTHER, 'organisation')})"), "{{slug}}"),
            Query(f'{_sum("organisation_requests_total", _OTHER)} or vector(0)', "other"),
        ],
    ),
    Panel(
        "Whose requests fail", "The ten organisations with the most 5xx.", "reqps",
        [Query(
            _named(
                f'topk(10, sum by (organisation) (rate(organisation_requests_total{{{_NOT_OTHER},status=~"5.."}}[{RATE}]) '
                f"or 0 * rate(organisation_requests_total{{{_NOT_OTHER}}}[{RATE}])))"
            ),
            "{{slug}}",
        )],
        0.1, alerts=["ApiErrors"],
    ),
)  # fmt: skip


def organisations() -> str:
    return board(
        "organisations",
        "Looma: organisations",
        "What one organisation asks and gets. Only the busiest have series of their own; the others are `other`.",
        {"The chosen organisation": _ONE, "Its data": _DATA, "All organisations": _COMPARED},
        ORGANISATION,
    )

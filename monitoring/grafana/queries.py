"""PromQL that several dashboards ask by."""

from __future__ import annotations

from typing import Final

RATE: Final = "$__rate_interval"


def p95(metric: str, selector: str, by: str) -> str:
    buckets = f"rate({metric}_bucket{{{selector}}}[{RATE}])"
    return f"histogram_quantile(0.95, sum by ({by}, le) ({buckets}))"


def rate(metric: str, selector: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{selector}}}[{RATE}]))"


def per_hour(metric: str, service: str) -> str:
    return f'sum by (job_type) (rate({metric}{{job="looma",service="{service}"}}[{RATE}])) * 3600'

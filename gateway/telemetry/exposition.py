"""The text format of Prometheus: a page as families of samples, pages added up, written.

A sample is kept by its series as it is written, `name{label="value"}`: pages of thousands of lines
are then read, added and written in a few milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

_COUNTS: Final = frozenset({"counter", "histogram", "summary"})
_CREATED: Final = "_created"
_KINDS: Final = {"unknown": "untyped", "info": "gauge", "stateset": "gauge"}

Rule = Callable[[Iterable[float]], float]

# What a gauge of several workers is as one: their sum, or the worst of them. Whatever is not named
# here is the greatest.
GAUGES: Final[Mapping[str, Rule]] = {
    "circuit_state": max,  # the worst: 2 is open
    "gateway_revocations_age_seconds": max,  # -1, never, only if that holds for all
    "gateway_signing_keys_age_seconds": max,
    "gateway_streams_in_flight": sum,
    "gateway_upstream_in_flight": sum,
    "gateway_upstream_instances": max,  # all see the same ones, some a moment later
    "gateway_websockets": sum,
    "http_requests_in_flight": sum,
    "process_max_fds": min,  # who has the least runs out first
    "process_open_fds": max,  # beside process_max_fds: both are of one process
    "process_resident_memory_bytes": sum,
    "process_start_time_seconds": min,  # since when this port is served
    "process_virtual_memory_bytes": sum,
    "python_info": max,
    "rate_limit_degraded": max,  # 1 if any worker counts alone
    "response_cache_bytes": sum,
}


class Family:
    """The samples of one metric, by series, in the order in which they were met."""

    __slots__ = ("documentation", "kind", "name", "samples")

    def __init__(
        self, name: str, documentation: str, kind: str, samples: dict[str, float] | None = None
    ) -> None:
        self.name = name
        self.documentation = documentation
        self.kind = kind  # 'counter', 'gauge', 'histogram' …
        self.samples = {} if samples is None else samples


def families_of(metrics: Iterable[Metric]) -> list[Family]:
    families: list[Family] = []
    for metric in metrics:
        kind = _KINDS.get(metric.type, metric.type)
        name = metric.name + "_total" if kind == "counter" else metric.name
        family = Family(name, metric.documentation, kind)
        # When a count began is a metric of its own in this format.
        began = Family(metric.name + _CREATED, metric.documentation, "gauge")
        for sample in metric.samples:
            into = began if kind in _COUNTS and sample.name.endswith(_CREATED) else family
            into.samples[_series(sample)] = float(sample.value)
        families += [family, began] if began.samples else [family]
    return families


def lasting(families: Iterable[Family]) -> list[Family]:
    """What outlives a process: counts, not states."""
    return [one for one in families if one.kind in _COUNTS]


def added(pages: Iterable[Iterable[Family]]) -> list[Family]:
    """The pages of several workers as one."""
    found: dict[str, Family] = {}
    values: dict[str, dict[str, list[float]]] = {}
    for page in pages:
        for family in page:
            found.setdefault(family.name, Family(family.name, family.documentation, family.kind))
            into = values.setdefault(family.name, {})
            for series, value in family.samples.items():
                into.setdefault(series, []).append(value)
    for name, family in found.items():
        rule = sum if family.kind in _COUNTS else _gauge_rule(name)
        family.samples = {series: rule(several) for series, several in values[name].items()}
    return list(found.values())


def rendered(families: Iterable[Family]) -> bytes:
    lines: list[str] = []
    for family in families:
        text = family.documentation.replace("\\", "\\\\").replace("\n", "\\n")
        lines.append(f"# HELP {family.name} {text}\n# TYPE {family.name} {family.kind}\n")
        lines += [f"{series} {_number(value)}\n" for series, value in family.samples.items()]
    return "".join(lines).encode()


def _series(sample: Sample) -> str:
    if not sample.labels:
        return sample.name
    labels = ",".join(f'{name}="{_quoted(sample.labels[name])}"' for name in sorted(sample.labels))
    return f"{sample.name}{{{labels}}}"


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0.0 else "-Inf"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _gauge_rule(name: str) -> Rule:
    return min if name.endswith(_CREATED) else GAUGES.get(name, max)

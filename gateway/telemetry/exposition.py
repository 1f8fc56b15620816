"""The text formats of Prometheus: a page as families of samples, pages added up, written.

A sample is kept by its series as it is written, `name{label="value"}`: pages of thousands of lines
are then read, added and written in a few milliseconds. Its exemplar is kept likewise, as it stands
behind it in OpenMetrics, the one format that has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS_LATEST
from prometheus_client.samples import Exemplar, Sample

_COUNTS: Final = frozenset({"counter", "histogram", "summary"})
_CREATED: Final = "_created"
_OPENMETRICS: Final = "application/openmetrics-text"
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
    """The samples of one metric, by series, in the order in which they were met.

    `exemplars`: series → when it was observed, and how it is written.
    """

    __slots__ = ("documentation", "exemplars", "kind", "name", "samples")

    def __init__(
        self,
        name: str,
        documentation: str,
        kind: str,
        samples: dict[str, float] | None = None,
        exemplars: dict[str, tuple[float, str]] | None = None,
    ) -> None:
        self.name = name
        self.documentation = documentation
        self.kind = kind  # 'counter', 'gauge', 'histogram' …
        self.samples = {} if samples is None else samples
        self.exemplars = {} if exemplars is None else exemplars


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
            series = _series(sample)
            into.samples[series] = float(sample.value)
            if sample.exemplar is not None:
                into.exemplars[series] = _exemplar(sample.exemplar)
        families += [family, began] if began.samples else [family]
    return families


def lasting(families: Iterable[Family]) -> list[Family]:
    """What outlives a process: counts, not states."""
    return [one for one in families if one.kind in _COUNTS]


def added(pages: Iterable[Iterable[Family]]) -> list[Family]:
    """The pages of several workers as one; of several exemplars the latest."""
    found: dict[str, Family] = {}
    values: dict[str, dict[str, list[float]]] = {}
    for page in pages:
        for family in page:
            total = found.setdefault(
                family.name, Family(family.name, family.documentation, family.kind)
            )
            for series, exemplar in family.exemplars.items():
                total.exemplars[series] = max(exemplar, total.exemplars.get(series, exemplar))
            into = values.setdefault(family.name, {})
            for series, value in family.samples.items():
                into.setdefault(series, []).append(value)
    for name, family in found.items():
        rule = sum if family.kind in _COUNTS else _gauge_rule(name)
        family.samples = {series: rule(several) for series, several in values[name].items()}
    return list(found.values())


def asks_for_openmetrics(accept: str) -> bool:
    """Whether a scraper's Accept header names it."""
    return any(one.partition(";")[0].strip() == _OPENMETRICS for one in accept.split(","))


def content_type(*, openmetrics: bool) -> str:
    return OPENMETRICS_LATEST if openmetrics else CONTENT_TYPE_LATEST


def rendered(families: Iterable[Family], *, openmetrics: bool = False) -> bytes:
    return _openmetrics(families) if openmetrics else _plain(families)


def _plain(families: Iterable[Family]) -> bytes:
    lines: list[str] = []
    for family in families:
        text = family.documentation.replace("\\", "\\\\").replace("\n", "\\n")
        lines.append(f"# HELP {family.name} {text}\n# TYPE {family.name} {family.kind}\n")
        lines += [f"{series} {_number(value)}\n" for series, value in family.samples.items()]
    return "".join(lines).encode()


def _openmetrics(families: Iterable[Family]) -> bytes:
    """With exemplars; without when counts began, which may not be metrics of their own here."""
    lines: list[str] = []
    for family in families:
        if family.name.endswith(_CREATED):
            continue
        kind = "unknown" if family.kind == "untyped" else family.kind
        name = family.name.removesuffix("_total") if kind == "counter" else family.name
        lines.append(f"# HELP {name} {_quoted(family.documentation)}\n# TYPE {name} {kind}\n")
        exemplars = family.exemplars
        for series, value in family.samples.items():
            behind = f" # {exemplars[series][1]}" if series in exemplars else ""
            lines.append(f"{series} {_number(value)}{behind}\n")
    lines.append("# EOF\n")
    return "".join(lines).encode()


def _exemplar(exemplar: Exemplar) -> tuple[float, str]:
    labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in exemplar.labels.items())
    at = float(exemplar.timestamp or 0.0)
    return at, f"{{{labels}}} {_number(exemplar.value)} {at:.3f}"


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

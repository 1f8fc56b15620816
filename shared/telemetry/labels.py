"""Labels of metrics: which there are, and how many values each may have.

Every combination of values is a series that Prometheus keeps and that a process holds for as long
as it lives. So a label is one of this table, whose values come from a closed vocabulary; nothing
that a caller can choose is one, nor anything that says who somebody is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

OTHER: Final = "other"  # stands for all values beyond a label's bound

# Label → the most values that it has in one metric. What the values are stands beside it.
LABELS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "analyzer": 16,  # name and version of an analyser
        "generation": 4,  # of Python's garbage collector
        "implementation": 2,  # of Python, as its version and the next three
        "instance": 1024,  # address of a service's instance, as the registry has it
        "job_type": 64,  # name of a type of job
        "kind": 8,  # of tokens
        "major": 2,
        "method": 16,  # of HTTP, of a route
        "minor": 2,
        "model": 256,  # of the models file
        "organisation": 1001,  # METRICS_ORGANISATIONS, and `other`
        "outcome": 16,
        "patchlevel": 2,
        "priority": 4,  # of a route
        "projection": 64,  # of the services' entries
        "provider": 64,  # of the models file
        "reason": 16,
        "result": 16,
        "route": 2048,  # path template, as in the route table
        "scope": 64,  # whose rate limit it is
        "service": 64,  # of the services' entries
        "slug": 1001,  # of an organisation
        "source": 64,  # of the sources file
        "status": 128,  # of HTTP
        "store": 16,
        "unit": 4,  # of a limit of models
        "version": 2,
    }
)


def check_labels(metric: str, names: Iterable[str]) -> None:
    """ValueError for a label that is not in the table, with what to do about it."""
    unknown = sorted(set(names) - LABELS.keys())
    if unknown:
        raise ValueError(
            f"{metric}: {', '.join(unknown)} is no label of shared/telemetry/labels.py. "
            "Use one that is there, or add it with the number of values that it can have; "
            "what has no such number (ids, names, texts, raw paths) belongs in a log line or a span."
        )

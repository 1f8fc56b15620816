"""What has changed from one period to another, metric by metric, and whether by more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Literal

from ai_services.portrait.figures import Figures
from ai_services.portrait.history.significance import Moments, two_proportions, welch
from ai_services.portrait.metrics import METRICS, RATES, Value

TestName = Literal["two_proportion_z", "welch_t"]
# Means, of which the moments are read from the calls.
MEANS: Final = ("avg_duration", "avg_rounds", "avg_sentiment_score")
_NO_MOMENTS: Final[Mapping[str, Moments]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Change:
    """`difference` is `value - before`; `test` and `p_value` None where none was done."""

    metric: str
    value: Value
    before: Value
    difference: Value
    test: TestName | None = None
    p_value: float | None = None


def changes(
    now: Figures,
    before: Figures,
    moments: Mapping[str, Moments] = _NO_MOMENTS,
    moments_before: Mapping[str, Moments] = _NO_MOMENTS,
) -> list[Change]:
    """Of every metric, in the order of METRICS. Means are tested where their moments are known."""
    return [
        _change(name, value_of(now), value_of(before), _tested(name, now, before, moments, moments_before))
        for name, value_of in METRICS.items()
    ]  # fmt: skip


def _tested(
    name: str,
    now: Figures,
    before: Figures,
    moments: Mapping[str, Moments],
    moments_before: Mapping[str, Moments],
) -> tuple[TestName | None, float | None]:
    p_value: float | None = None
    test: TestName | None = None
    if name in RATES:
        read: Any = attrgetter(*RATES[name])
        test, p_value = "two_proportion_z", two_proportions(*read(now), *read(before))
    elif name in moments and name in moments_before:
        test, p_value = "welch_t", welch(moments[name], moments_before[name])
    return (None, None) if p_value is None else (test, p_value)


def _change(
    name: str, value: Value, before: Value, tested: tuple[TestName | None, float | None]
) -> Change:
    difference = None if value is None or before is None else value - before
    return Change(name, value, before, difference, *tested)

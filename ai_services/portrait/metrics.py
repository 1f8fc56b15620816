"""The closed vocabulary of trend metrics: each a function of figures, so that it holds for
one user and for a whole organisation alike (rates of totals, not averages of rates).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Final

from ai_services.portrait.figures import COUNTS, Figures, ratio, seconds
from shared.errors import InvalidInput

Value = int | float | None
Metric = Callable[[Figures], Value]

# Rate → the figures that it is the quotient of; all but the first over connected calls of which the
# sentiment or risk is known.
RATES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "connect_rate": ("connected_calls", "total_calls"),
        "positive_rate": ("positive_count", "judged_calls"),
        "neutral_rate": ("neutral_count", "judged_calls"),
        "negative_rate": ("negative_count", "judged_calls"),
        "high_complaint_rate": ("high_complaint_risk", "complaint_judged_calls"),
        "high_churn_rate": ("high_churn_risk", "churn_judged_calls"),
    }
)


def _rate(name: str) -> Metric:
    part, whole = RATES[name]
    return lambda figures: ratio(getattr(figures, part), getattr(figures, whole))


_DERIVED: Final[dict[str, Metric]] = {
    "connect_rate": _rate("connect_rate"),
    "total_duration": lambda f: seconds(f.total_duration),
    "avg_duration": attrgetter("avg_duration"),
    "avg_rounds": attrgetter("avg_rounds"),
    "avg_sentiment_score": attrgetter("avg_sentiment_score"),
    **{name: _rate(name) for name in RATES if name != "connect_rate"},
}
METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {**{name: attrgetter(name) for name in COUNTS if name != "scored_calls"}, **_DERIVED}
)


def metric(name: str) -> Metric:
    """The metric called `name`; InvalidInput that lists those there are for any other."""
    found = METRICS.get(name)
    if found is None:
        problem = f"there is no metric {name[:60]!r}"
        fix = f"send one of {', '.join(METRICS)}"
        raise InvalidInput.of("metric", problem, fix)
    return found

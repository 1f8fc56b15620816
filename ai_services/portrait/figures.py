"""The additive figures of a portrait and what follows from them.

Every field is a sum over calls, so figures of users add up to those of an organisation and
those of months to those of a quarter. Rates and averages are derived from sums, never averaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of some calls: all but `total_calls` and fail reasons over connected ones."""

    total_calls: int = 0
    connected_calls: int = 0
    total_duration: Decimal = Decimal(0)  # seconds, exact to the millisecond
    total_rounds: int = 0
    level_a_count: int = 0
    level_b_count: int = 0
    level_c_count: int = 0
    level_d_count: int = 0
    level_e_count: int = 0
    level_f_count: int = 0
    robot_hangup_count: int = 0
    user_hangup_count: int = 0
    positive_count: int = 0
    neutral_count: int = 0
    negative_count: int = 0
    scored_calls: int = 0  # connected calls that have a sentiment score
    sentiment_score_sum: float = 0.0
    high_complaint_risk: int = 0
    medium_complaint_risk: int = 0
    low_complaint_risk: int = 0
    high_churn_risk: int = 0
    medium_churn_risk: int = 0
    low_churn_risk: int = 0
    fail_reason_dist: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Figures:
        """Figures from a row that has a column for every field."""
        return cls(**{name: row[name] for name in COLUMNS})

    @property
    def connect_rate(self) -> float | None:
        return ratio(self.connected_calls, self.total_calls)

    @property
    def avg_duration(self) -> float | None:
        """Seconds per connected call."""
        return ratio(self.total_duration, self.connected_calls)

    @property
    def avg_rounds(self) -> float | None:
        return ratio(self.total_rounds, self.connected_calls)

    @property
    def avg_sentiment_score(self) -> float | None:
        return ratio(self.sentiment_score_sum, self.scored_calls)

    @property
    def judged_calls(self) -> int:
        """Connected calls whose sentiment is known."""
        return self.positive_count + self.neutral_count + self.negative_count

    @property
    def complaint_judged_calls(self) -> int:
        return self.high_complaint_risk + self.medium_complaint_risk + self.low_complaint_risk

    @property
    def churn_judged_calls(self) -> int:
        return self.high_churn_risk + self.medium_churn_risk + self.low_churn_risk


COLUMNS: Final = tuple(item.name for item in fields(Figures))
COUNTS: Final = tuple(
    name
    for name in COLUMNS
    if name not in ("total_duration", "sentiment_score_sum", "fail_reason_dist")
)


def ratio(part: float | Decimal, whole: int) -> float | None:
    """`part / whole`; None over nothing."""
    return float(part) / whole if whole else None


def seconds(amount: Decimal) -> int | float:
    """Exact seconds as a JSON number: whole where it is whole."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)

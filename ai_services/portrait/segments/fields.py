"""What a segment's condition may name: the figures of a portrait, as its columns and as SQL.

The rates are those of metrics.py, from the same sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ai_services.portrait.dimension import DIMENSIONS, Dimension
from ai_services.portrait.figures import COUNTS
from shared.expressions.ranges import Range
from shared.expressions.schema import Field, Schema

_COUNT: Final = Range(0, 2**53)
# The least that isn't 0: one call in 2^53, a millisecond over as many, a score of 2^-40.
_SHARE: Final = Range(0.0, 1.0, 2.0**-53)
_SCORE: Final = Range(0.0, 1.0, 2.0**-93)
_TOTAL: Final = Range(0.0, 1e17, 1e-3)
_MEAN: Final = Range(0.0, 1e17, 1e-20)

_JUDGED: Final = "(s.positive_count + s.neutral_count + s.negative_count)"
_COMPLAINT: Final = "(s.high_complaint_risk + s.medium_complaint_risk + s.low_complaint_risk)"
_CHURN: Final = "(s.high_churn_risk + s.medium_churn_risk + s.low_churn_risk)"
_RATIOS: Final[Mapping[str, tuple[str, str, Range]]] = {
    "connect_rate": ("s.connected_calls", "s.total_calls", _SHARE),
    "avg_duration": ("s.total_duration", "s.connected_calls", _MEAN),
    "avg_rounds": ("s.total_rounds", "s.connected_calls", _MEAN),
    "avg_sentiment_score": ("s.sentiment_score_sum", "s.scored_calls", _SCORE),
    "positive_rate": ("s.positive_count", _JUDGED, _SHARE),
    "neutral_rate": ("s.neutral_count", _JUDGED, _SHARE),
    "negative_rate": ("s.negative_count", _JUDGED, _SHARE),
    "high_complaint_rate": ("s.high_complaint_risk", _COMPLAINT, _SHARE),
    "high_churn_rate": ("s.high_churn_risk", _CHURN, _SHARE),
}


@dataclass(frozen=True, slots=True)
class Fields:
    """Of one dimension; `sql` is over the snapshot `s`."""

    schema: Schema
    sql: Mapping[str, str]


def _fields(whose: Dimension) -> Fields:
    schema = Schema(
        [
            Field(whose.column, "text", nullable=False),
            *(Field(name, "int", nullable=False, range=_COUNT) for name in COUNTS),
            Field("total_duration", "float", nullable=False, range=_TOTAL),
            *(Field(name, "float", range=bounds) for name, (_, _, bounds) in _RATIOS.items()),
            Field("fail_reason_dist", "counts", nullable=False, range=_COUNT),
        ]
    )
    plain = (whose.column, *COUNTS, "total_duration", "fail_reason_dist")
    ratios = {
        name: f"({part})::float8 / nullif({of}, 0)" for name, (part, of, _) in _RATIOS.items()
    }
    return Fields(schema, MappingProxyType({**{name: f"s.{name}" for name in plain}, **ratios}))


FIELDS: Final[Mapping[Dimension, Fields]] = MappingProxyType(
    {whose: _fields(whose) for whose in DIMENSIONS}
)

"""A portrait as a vector, for finding accounts whose calls look alike.

`portrait-rates/1` has 28 components in [-1, 1], and zeros up to a dimension that the vector
stores index: how often calls connect, how long and how talkative they are, the shares of
intention levels, hang-ups, fail reasons, sentiments and risks, and how many calls there were.
Counts and durations enter by logarithm, so that an account with ten times the calls but the
same conduct stays near. What is unknown is 0; the number of calls is above 0 for any portrait,
so no vector is the zero vector, of which cosine similarity would be undefined.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from ai_services.portrait.figures import Figures, ratio
from shared.calls import FAIL_REASONS, INTENTION_LEVELS

MODEL_VERSION: Final = "portrait-rates/1"

# Where the logarithms reach 1: an hour per call, 100 turns per call, a million calls.
_LONGEST_S: Final = 3600.0
_MOST_ROUNDS: Final = 100.0
_MOST_CALLS: Final = 1_000_000.0

COMPONENTS: Final = (
    "connect_rate",
    "avg_duration",
    "avg_rounds",
    *(f"level_{level.lower()}" for level in INTENTION_LEVELS),
    "robot_hangup",
    "user_hangup",
    *FAIL_REASONS,
    "positive",
    "neutral",
    "negative",
    "sentiment_score",
    "high_complaint",
    "medium_complaint",
    "low_complaint",
    "high_churn",
    "medium_churn",
    "low_churn",
    "total_calls",
)
DIMENSION: Final = 32
_PADDING: Final = [0.0] * (DIMENSION - len(COMPONENTS))


def vector(figures: Figures) -> list[float]:
    """One number per name in COMPONENTS, then zeros, for figures of at least one call."""
    f = figures
    hangups = (f.robot_hangup_count, f.user_hangup_count)
    sentiments = (f.positive_count, f.neutral_count, f.negative_count)
    complaints = (f.high_complaint_risk, f.medium_complaint_risk, f.low_complaint_risk)
    churns = (f.high_churn_risk, f.medium_churn_risk, f.low_churn_risk)
    levels = (
        f.level_a_count, f.level_b_count, f.level_c_count,
        f.level_d_count, f.level_e_count, f.level_f_count,
    )  # fmt: skip
    score = f.avg_sentiment_score
    return [
        f.connect_rate or 0.0,
        _log(f.avg_duration or 0.0, _LONGEST_S),
        _log(f.avg_rounds or 0.0, _MOST_ROUNDS),
        *_shares(levels, f.connected_calls),
        *_shares(hangups, f.connected_calls),
        *_shares((f.fail_reason_dist.get(reason, 0) for reason in FAIL_REASONS), f.total_calls),
        *_shares(sentiments, f.connected_calls),
        0.0 if score is None else 2 * score - 1,
        *_shares(complaints, f.connected_calls),
        *_shares(churns, f.connected_calls),
        _log(float(f.total_calls), _MOST_CALLS),
        *_PADDING,
    ]


def _shares(counts: Iterable[int], whole: int) -> list[float]:
    return [ratio(count, whole) or 0.0 for count in counts]


def _log(amount: float, top: float) -> float:
    """0…1 on a logarithmic scale; what exceeds `top` counts as `top`."""
    return min(1.0, math.log1p(amount) / math.log1p(top))

"""Metrics and vectors: functions of figures."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.portrait.figures import COUNTS, Figures
from ai_services.portrait.metrics import METRICS, metric
from ai_services.portrait.vector import COMPONENTS, DIMENSION, vector
from shared.calls import FAIL_REASONS
from shared.errors import InvalidInput

SEED_EXAMPLE = Figures(
    total_calls=156,
    connected_calls=98,
    total_duration=Decimal("14520.000"),
    total_rounds=342,
    level_a_count=12,
    positive_count=42,
    neutral_count=38,
    negative_count=18,
    scored_calls=98,
    sentiment_score_sum=60.76,
    high_complaint_risk=3,
    medium_complaint_risk=12,
    low_complaint_risk=83,
    high_churn_risk=5,
    medium_churn_risk=18,
    low_churn_risk=75,
    fail_reason_dist={"busy": 18, "no_answer": 22, "power_off": 8, "invalid_number": 10},
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("total_calls", 156),
        ("connected_calls", 98),
        ("connect_rate", 98 / 156),
        ("total_duration", 14520),
        ("avg_duration", 14520 / 98),
        ("avg_rounds", 342 / 98),
        ("level_a_count", 12),
        ("positive_rate", 42 / 98),
        ("avg_sentiment_score", 0.62),
        ("high_complaint_risk", 3),
        ("high_churn_rate", 5 / 98),
    ],
)
def test_metrics_of_known_figures(name: str, value: float) -> None:
    assert metric(name)(SEED_EXAMPLE) == pytest.approx(value, abs=1e-12)


def test_rates_over_nothing_are_null_and_counts_are_zero() -> None:
    for name, value_of in METRICS.items():
        expected = None if "rate" in name or name.startswith("avg_") else 0
        assert value_of(Figures()) == expected, name


def test_whole_seconds_are_whole_numbers() -> None:
    value_of = metric("total_duration")
    assert isinstance(value_of(SEED_EXAMPLE), int)
    assert value_of(Figures(total_duration=Decimal("0.250"))) == 0.25


def test_an_unknown_metric_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput) as caught:
        metric("connect-rate")
    (detail,) = caught.value.details
    assert detail.field == "metric"
    assert all(name in detail.fix for name in METRICS)


@st.composite
def figures(draw: st.DrawFn) -> Figures:
    """Figures that some calls could have: parts never exceed their whole."""
    connected = draw(st.integers(0, 10**7))
    part = st.integers(0, connected)
    scored = draw(part)
    counts = {name: draw(part) for name in COUNTS}
    reasons = draw(st.dictionaries(st.sampled_from(FAIL_REASONS), st.integers(1, 10**6)))
    counts |= {
        "total_calls": max(1, connected + sum(reasons.values())),
        "connected_calls": connected,
        "total_rounds": draw(st.integers(0, 10**9)) if connected else 0,
        "scored_calls": scored,
    }
    return Figures(
        **counts,
        total_duration=Decimal(draw(st.integers(0, 10**12)) if connected else 0) / 1000,
        sentiment_score_sum=scored * draw(st.floats(0, 1)),
        fail_reason_dist=reasons,
    )


@given(figures())
def test_a_vector_has_a_length_and_components_within_one(some: Figures) -> None:
    found = vector(some)
    assert len(found) == DIMENSION == 32
    assert not any(found[len(COMPONENTS) :])
    assert all(-1 <= component <= 1 for component in found)
    assert math.hypot(*found) > 0


@given(figures())
def test_more_calls_of_the_same_conduct_keep_the_direction_of_all_but_the_volume(
    some: Figures,
) -> None:
    tenfold = replace(
        some,
        **{name: 10 * getattr(some, name) for name in COUNTS},
        total_duration=10 * some.total_duration,
        sentiment_score_sum=10 * some.sentiment_score_sum,
        fail_reason_dist={reason: 10 * n for reason, n in some.fail_reason_dist.items()},
    )
    before, after = (dict(zip(COMPONENTS, vector(f), strict=False)) for f in (some, tenfold))
    assert after.pop("total_calls") >= before.pop("total_calls")
    assert after == pytest.approx(before, abs=1e-9)


def test_unknown_facts_are_zero() -> None:
    found = dict(zip(COMPONENTS, vector(Figures(total_calls=1)), strict=False))
    assert found.pop("total_calls") > 0
    assert set(found.values()) == {0.0}

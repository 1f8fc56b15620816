"""Tests of rates and means, beside SciPy's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ai_services.portrait.history.significance import Moments, two_proportions, welch

COUNTS = st.integers(0, 100_000)
MOMENTS = st.builds(
    Moments, st.integers(2, 100_000), st.floats(-1e4, 1e4), st.floats(0, 1e6)
)  # fmt: skip


@given(MOMENTS, MOMENTS)
def test_means_are_compared_as_welch_has_it(one: Moments, other: Moments) -> None:
    p_value = welch(one, other)
    assert welch(other, one) == pytest.approx(p_value, abs=1e-12)
    if p_value is None:
        assert min(one.count, other.count) < 10 or one.variance / one.count == 0.0
        return
    wanted = stats.ttest_ind_from_stats(
        one.mean, math.sqrt(one.variance), one.count,
        other.mean, math.sqrt(other.variance), other.count, equal_var=False,
    ).pvalue  # fmt: skip
    assert p_value == pytest.approx(wanted, rel=1e-6, abs=1e-12)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_rates_are_compared_by_the_pooled_z_test(a: int, b: int, c: int, d: int) -> None:
    (hits, of), (others, of_others) = sorted((a, b)), sorted((c, d))
    p_value = two_proportions(hits, of, others, of_others)
    assert two_proportions(others, of_others, hits, of) == p_value
    if p_value is None:
        return
    table = [[hits, of - hits], [others, of_others - others]]
    wanted = stats.chi2_contingency(table, correction=False).pvalue  # z² is chi²
    assert p_value == pytest.approx(wanted, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("hits", "of", "others", "of_others"),
    [(0, 0, 5, 10), (1, 3, 2, 3), (0, 1000, 0, 1000), (1000, 1000, 900, 900), (1, 1000, 2, 1000)],
)
def test_too_few_calls_say_nothing(hits: int, of: int, others: int, of_others: int) -> None:
    assert two_proportions(hits, of, others, of_others) is None


def test_values_that_are_all_the_same_say_nothing() -> None:
    assert welch(Moments(50, 1.0, 0.0), Moments(50, 1.0, 0.0)) is None

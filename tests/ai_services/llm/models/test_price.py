"""Costs: exact, never below what the price says."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.llm.models.price import PLACES, UNPRICED, Price
from ai_services.llm.protocol.usage import Usage

PRICE = Price("2026-01-01", Decimal("2.50"), Decimal(10), Decimal("1.25"))
TOKENS = st.integers(0, 10**9)
MONEY = st.decimals(0, 10**6, places=8)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(), "0"),
        (Usage(1_000_000), "2.5"),
        (Usage(1_000_000, 1_000_000), "12.5"),
        (Usage(1_000_000, 0, 400_000), "2.0"),
        (Usage(100, 0, 200), "0.000125"),  # no more can be cached than came in
        (Usage(0, 1, 0, 1), "0.00001"),  # reasoning is part of the output
    ],
)
def test_each_kind_of_token_has_its_price(usage: Usage, cost: str) -> None:
    assert PRICE.cost(usage) == Decimal(cost)


def test_what_is_below_the_last_place_is_rounded_up() -> None:
    tiny = Price("x", Decimal("0.0001"), Decimal(0), Decimal(0))
    assert tiny.cost(Usage(1)) == PLACES
    assert tiny.cost(Usage(101)) == 2 * PLACES
    assert UNPRICED.cost(Usage(10**9, 10**9)) == 0


@given(st.builds(Usage, TOKENS, TOKENS, TOKENS), MONEY, MONEY, MONEY)
def test_a_cost_is_exact_but_for_the_rounding(usage, input_price, output, cached) -> None:
    price = Price("x", input_price, output, cached)
    exact = (
        (usage.input - min(usage.cached, usage.input)) * input_price
        + min(usage.cached, usage.input) * cached
        + usage.output * output
    ) / 10**6
    assert 0 <= price.cost(usage) - exact < PLACES
    assert price.cost(usage).as_tuple().exponent == -8


@given(TOKENS, TOKENS, st.decimals(0, 1, places=4))
def test_in_a_batch_it_costs_less_by_its_share(read: int, written: int, discount: Decimal) -> None:
    usage = Usage(read, written)
    cost = PRICE.in_batches(discount).cost(usage)
    assert abs(cost - PRICE.cost(usage) * (1 - discount)) <= PLACES

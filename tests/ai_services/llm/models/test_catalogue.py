"""Looking up models, purposes and prices."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_services.llm.models.catalogue import Catalogue, Deployment, Model, Provider, Purpose
from ai_services.llm.models.price import Price
from shared.errors import ModelNotFound, NoModel, NoPrice

DAY = date(2026, 1, 1)
ONE = Deployment(Provider("p", "http://127.0.0.1"), "m")
MODEL = Model("m", "chat", (ONE,), 1000, 100, ())


def prices(*days: date) -> tuple[Price, ...]:
    return tuple(Price(str(day), Decimal(1), Decimal(1), Decimal(1), day) for day in days)


def test_a_name_is_a_model_or_an_error_that_says_what_to_do() -> None:
    catalogue = Catalogue((MODEL,), {"summary": Purpose("summary", 60)})
    assert catalogue.model("m") is MODEL
    with pytest.raises(ModelNotFound, match=r"no model 'n'. GET /v1/models"):
        catalogue.model("n")
    with pytest.raises(NoModel, match="Set LLM_MODELS, or LLM_BASE_URL"):
        Catalogue().model("m")


def test_a_purpose_that_nobody_has_set_up_has_no_cache() -> None:
    catalogue = Catalogue((MODEL,), {"summary": Purpose("summary", 60)})
    assert catalogue.purpose("summary").cache_s == 60
    assert catalogue.purpose("other") == Purpose("other")


@settings(max_examples=40)
@given(st.sets(st.integers(0, 400), min_size=1), st.integers(-10, 410))
def test_exactly_one_price_holds_from_the_first_day_on(begins: set[int], on: int) -> None:
    days = [DAY + timedelta(begin) for begin in sorted(begins)]
    model, day = replace(MODEL, prices=prices(*days)), DAY + timedelta(on)
    if day < days[0]:
        with pytest.raises(NoPrice, match=f"'m' has no price on {day}"):
            Catalogue((model,)).price(model, day)
    else:
        held = Catalogue((model,)).price(model, day)
        assert held.since == max(one for one in days if one <= day)

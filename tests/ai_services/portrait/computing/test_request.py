"""Which periods a request for a computation means."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ai_services.portrait.computing.request import Requested, requested
from shared.errors import InvalidInput

ALL = ("week", "month", "quarter")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("all", None, None, None), Requested(ALL, None, None)),
        (("week", None, None, None), Requested(("week",), None, None)),
        (
            ("week", "2024-W49", None, None),
            Requested(("week",), date(2024, 12, 2), date(2024, 12, 8)),
        ),
        (
            ("all", "2024-11", None, None),
            Requested(("month",), date(2024, 11, 1), date(2024, 11, 30)),
        ),
        (
            ("all", None, date(2024, 1, 1), date(2024, 1, 1)),
            Requested(ALL, date(2024, 1, 1), date(2024, 1, 1)),
        ),
        (("month", None, None, date(2024, 1, 9)), Requested(("month",), None, date(2024, 1, 9))),
    ],
)
def test_what_is_meant(given: Any, expected: Requested) -> None:
    assert requested(*given) == expected


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (("week", "2024-11", None, None), "period_key"),
        (("all", "2024-W60", None, None), "period_key"),
        (("all", "soon", None, None), "period_key"),
        (("week", "2024-W49", date(2024, 1, 1), None), "period_key"),
        (("all", None, date(2024, 1, 2), date(2024, 1, 1)), "from"),
        (("all", None, date(9999, 1, 2), None), "from"),
        (("all", None, None, date(9999, 1, 2)), "to"),
    ],
)
def test_what_means_nothing_is_refused_by_field(given: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        requested(*given)
    assert caught.value.details[0].field == field
    assert caught.value.details[0].fix

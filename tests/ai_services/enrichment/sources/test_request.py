"""What of a source is to be read, and what of its marks that moves."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.sources.request import Request
from ai_services.enrichment.sources.settings import SourceSettings
from shared.errors import InvalidInput

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2024, 12, 4, 18, 0, tzinfo=UTC)  # 02:00 of the 5th there


def settings(**other: Any) -> SourceSettings:
    return SourceSettings("dialler", "acme", "mysql", load_preset("calls"), **other)


def asked(**args: str) -> Request:
    return Request.of({name.removesuffix("_"): value for name, value in args.items()}, ZONE, NOW)


def local(day: int, hour: int = 0) -> datetime:
    return datetime(2024, 12, day, hour, tzinfo=ZONE)


def test_what_is_new_reaches_to_the_end_of_yesterday_from_before_the_mark() -> None:
    span = asked().span(settings(overlap_hours=6), {"through": local(4)})
    assert (span.first, span.end, span.changed) == (local(3, 18), local(5), True)


def test_without_a_mark_it_is_everything_since_the_first_day() -> None:
    assert asked().span(settings(), None).first is None
    assert asked().span(settings(since=date(2024, 12, 1)), {"through": None}).first == local(1)
    assert asked().span(settings(since=date(2024, 12, 4)), {"through": local(4)}).first == local(4)


@pytest.mark.parametrize(
    ("args", "first", "end"),
    [
        ({"from_": "2024-12-01", "to": "2024-12-02"}, local(1), local(3)),
        ({"from_": "2024-12-01"}, local(1), local(6)),  # today, as far as it has come
        ({"to": "2024-12-02"}, None, local(3)),
    ],
)
def test_days_are_those_of_the_organisation(args: Any, first: Any, end: datetime) -> None:
    span = asked(**args).span(settings(), {"through": local(4)})
    assert (span.first, span.end, span.changed) == (first, end, False)


@pytest.mark.parametrize(
    ("args", "since", "through", "moves"),
    [
        ({}, None, None, True),
        ({"from_": "2024-12-02"}, None, None, False),  # what lies before isn't in
        ({"from_": "2024-12-02"}, date(2024, 12, 2), None, True),
        ({"from_": "2024-12-02"}, None, local(2), True),
        ({"from_": "2024-12-03"}, None, local(2), False),
        ({"to": "2024-12-03"}, None, None, True),
    ],
)
def test_a_mark_moves_only_over_what_is_in(
    args: Any, since: Any, through: Any, moves: bool
) -> None:
    request, known = asked(**args), None if through is None else {"through": through}
    source = settings(since=since)
    assert request.moves(request.span(source, known), source, known) is moves


@pytest.mark.parametrize(
    ("args", "since", "through", "moves"),
    [
        ({}, None, local(4), True),  # what has changed since is all that there is
        ({}, None, None, True),
        ({"from_": "2024-12-02"}, None, local(4), False),  # what changed of earlier days is not in
        ({"from_": "2024-12-02"}, date(2024, 12, 2), local(4), True),
        ({"to": "2024-12-03"}, None, local(4), True),
    ],
)
def test_a_mark_of_changes_moves_over_changes_and_over_everything(
    args: Any, since: Any, through: Any, moves: bool
) -> None:
    known = None if through is None else {"through": through}
    found = settings(since=since, changed="changed_at")
    assert asked(**args).moves(asked(**args).span(found, known), found, known) is moves


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"from_": "yesterday"}, "from"),
        ({"to": "2024-13-01"}, "to"),
        ({"from_": "2024-12-03", "to": "2024-12-02"}, "is before"),
    ],
)
def test_days_that_are_none_are_named(args: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        asked(**args)

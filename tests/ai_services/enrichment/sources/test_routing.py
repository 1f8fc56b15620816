"""Which tables hold the calls of some days."""

from __future__ import annotations

from datetime import date

import pytest

from ai_services.enrichment.sources.routing import Layout, Month, Shard, TableName

LAYOUT = Layout(TableName("calls_{YYYY_MM}"), TableName("details_{YYYY_MM}"), history=2)


def tables(*months: str, details: bool = True) -> list[str]:
    return [
        f"{name}_{one}" for one in months for name in ("calls", *(["details"] if details else []))
    ]


def names(shards: list[Shard]) -> list[str]:
    return [one.table for one in shards]


def test_shards_are_the_tables_of_months_the_oldest_first() -> None:
    there = [*tables("2024_12", "2024_02", "2025_01"), "calls_archive", "calls_2024_13", "calls_24_1",
             "xcalls_2024_05", "calls_2024_05x", "calls_2024_00", "autodialer_task"]  # fmt: skip
    found = LAYOUT.shards(there)
    assert names(found) == ["calls_2024_02", "calls_2024_12", "calls_2025_01"]
    assert found[0] == Shard(Month(2024, 2), "calls_2024_02", "details_2024_02")


def test_a_month_without_transcripts_has_none() -> None:
    (shard,) = LAYOUT.shards(tables("2024_12", details=False))
    assert shard.details is None


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (date(2024, 12, 1), date(2024, 12, 31), ["2024_10", "2024_11", "2024_12"]),
        (date(2025, 1, 31), date(2025, 1, 31), ["2024_11", "2024_12", "2025_01"]),
        (date(2024, 12, 31), date(2025, 1, 1), ["2024_10", "2024_11", "2024_12", "2025_01"]),
        (None, date(2024, 10, 5), ["2024_09", "2024_10"]),
        (date(2023, 1, 1), date(2023, 1, 31), []),
    ],
)
def test_a_days_calls_lie_in_the_months_whose_tasks_were_still_called(
    first: date | None, last: date, expected: list[str]
) -> None:
    shards = LAYOUT.shards(tables("2024_09", "2024_10", "2024_11", "2024_12", "2025_01"))
    assert names(LAYOUT.reaching(shards, first, last)) == [f"calls_{one}" for one in expected]


def test_a_table_that_is_not_split_is_always_read() -> None:
    layout = Layout(TableName("cdr"))
    shards = layout.shards(["cdr", "cdr_2024_12"])
    assert shards == [Shard(None, "cdr")]
    assert layout.reaching(shards, date(2001, 1, 1), date(2001, 1, 1)) == shards
    assert layout.gaps(shards) == []


def test_missing_months_are_named() -> None:
    shards = LAYOUT.shards(tables("2024_11", "2025_02"))
    assert LAYOUT.gaps(shards) == ["calls_2024_12", "calls_2025_01"]
    assert LAYOUT.gaps(LAYOUT.shards(tables("2024_11", "2024_12"))) == []


def test_names_that_mean_something_to_patterns_are_taken_literally() -> None:
    layout = Layout(TableName("calls$_{YYYY_MM}"))
    assert layout.shards(["calls_2024_12", "calls$_2024_12"])[0].table == "calls$_2024_12"


@pytest.mark.parametrize(
    ("month", "back", "expected"),
    [
        (Month(2025, 1), 1, Month(2024, 12)),
        (Month(2025, 3), 0, Month(2025, 3)),
        (Month(2025, 3), 27, Month(2022, 12)),
        (Month(1, 2), 12, Month(1, 1)),
    ],
)
def test_months_go_back_over_years(month: Month, back: int, expected: Month) -> None:
    assert month.back(back) == expected


def test_a_table_ends_when_none_of_its_tasks_is_called_any_more() -> None:
    (shard,) = LAYOUT.shards(tables("2024_11"))
    assert LAYOUT.end(shard) == date(2025, 2, 1)
    assert Layout(TableName("cdr")).end(Shard(None, "cdr")) is None

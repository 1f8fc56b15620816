"""Where windows begin and end: natural days, weeks and months in the organisation's time zone."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_services.llm.spend.ledger import Ledger
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.llm.spend.books import (
    Organisation,
    assert_law,
    first_day,
    new_organisation,
    settlement,
)

DAYS = st.dates(date(1970, 1, 1), date(2200, 1, 1))


@given(st.lists(DAYS, min_size=1, max_size=50))
@settings(max_examples=10)
async def test_windows_are_natural_periods(db: Postgres, days: list[date]) -> None:
    async with db.system() as tx:
        rows = await tx.fetch(
            """
            SELECT period, day, llm_window_start(period, day) AS first,
                   llm_window_end(period, llm_window_start(period, day)) AS after
            FROM unnest($1::date[]) AS day,
                 unnest(ARRAY['day', 'week', 'month', 'total']) AS period
            """,
            days,
        )
    for row in rows:
        start = first_day(row["period"], row["day"])
        assert row["first"] == start
        if row["period"] == "total":
            assert row["after"] is None
            continue
        assert first_day(row["period"], row["after"]) == row["after"] > row["day"]
        assert first_day(row["period"], row["after"] - timedelta(days=1)) == start


@pytest.mark.parametrize(
    ("timezone", "period", "first", "renews"),
    [
        ("Asia/Shanghai", "day", "2026-03-29", "2026-03-30T00:00:00+08:00"),
        ("Europe/Berlin", "day", "2026-03-29", "2026-03-30T00:00:00+02:00"),  # 23 hours
        ("Europe/Berlin", "day", "2026-10-25", "2026-10-26T00:00:00+01:00"),  # 25 hours
        ("Europe/Berlin", "week", "2026-03-23", "2026-03-30T00:00:00+02:00"),
        ("America/New_York", "month", "2026-03-01", "2026-04-01T00:00:00-04:00"),
        ("America/New_York", "month", "2026-12-01", "2027-01-01T00:00:00-05:00"),
        # Midnight did not exist there on that day: it began at one o'clock.
        ("America/Santiago", "day", "2026-09-05", "2026-09-06T01:00:00-03:00"),
        ("UTC", "total", "0001-01-01", None),
    ],
)
async def test_renews_at_local_midnight(
    db: Postgres, timezone: str, period: str, first: str, renews: str | None
) -> None:
    organisation = await new_organisation(db, timezone)
    async with db.tenant(organisation.org_id) as tx:
        at = await tx.fetchval(
            "SELECT llm_renews_at($1, $2, $3)",
            organisation.org_id,
            period,
            date.fromisoformat(first),
        )
    assert at == (None if renews is None else datetime.fromisoformat(renews))


async def test_today_is_that_of_the_organisation(db: Postgres) -> None:
    for timezone in ("Pacific/Kiritimati", "Asia/Shanghai", "UTC", "Pacific/Pago_Pago"):
        organisation = await new_organisation(db, timezone)
        async with db.tenant(organisation.org_id) as tx:
            row = await tx.fetchrow(
                "SELECT llm_today($1) AS today, now() AS now", organisation.org_id
            )
        assert row is not None
        now = row["now"].astimezone(ZoneInfo(timezone))
        assert row["today"] in (now.date(), (now + timedelta(minutes=1)).date())


async def test_an_attempt_is_charged_where_it_was_reserved(
    organisation: Organisation, ledger: Ledger
) -> None:
    """From 25 hours ahead to 25 hours behind it is another day, whatever the hour."""
    await organisation.move_to("Pacific/Pago_Pago")
    daily = await organisation.set_budget("5")
    total = await organisation.set_budget("9", period="total")
    before = organisation.attempt("5")
    await ledger.reserve(before)
    await organisation.move_to("Pacific/Kiritimati")
    after = organisation.attempt("4")
    await ledger.reserve(after)
    await ledger.settle(before, settlement("3"))
    await ledger.settle(after, settlement("1"))
    windows = sorted((day, row["spent"]) for (one, day), row in (await organisation.windows()).items()
                     if one == daily)  # fmt: skip
    assert [spent for _, spent in windows] == [3, 1]
    assert await organisation.window(total) == (0, 4)
    await assert_law(organisation)


async def test_a_budget_made_later_counts_what_its_window_holds(
    organisation: Organisation, ledger: Ledger
) -> None:
    settled, reserved = organisation.attempt("2"), organisation.attempt("3")
    await ledger.reserve(settled)
    await ledger.reserve(reserved)
    await ledger.settle(settled, settlement("1"))
    for period in ("day", "week", "month", "total"):
        budget = await organisation.set_budget("10", period=period)
        assert await organisation.window(budget) == (3, 1)
    await ledger.settle(reserved, settlement("2"))
    assert await organisation.window(budget) == (0, 3)
    await assert_law(organisation)


async def test_a_budget_counts_attempts_of_a_day_that_was_ahead(
    organisation: Organisation, ledger: Ledger
) -> None:
    """The organisation moved back over midnight before the budget was made, and forth again."""
    await organisation.move_to("Pacific/Kiritimati")
    await ledger.reserve(organisation.attempt("2"))
    await organisation.move_to("Pacific/Pago_Pago")
    budget = await organisation.set_budget("10")
    assert await organisation.window(budget) == (0, 0)
    await organisation.move_to("Pacific/Kiritimati")
    await ledger.reserve(organisation.attempt("3"))
    assert await organisation.window(budget) == (5, 0)
    await assert_law(organisation)

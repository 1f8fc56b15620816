"""What is counted, when, and of whom: sharp cases beside the law."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from ai_services.portrait.computing.computation import compute
from ai_services.portrait.computing.verifying import verify
from ai_services.portrait.counting.count import catch_up
from ai_services.portrait.counting.loop import Counting
from ai_services.portrait.counting.metrics import CountingMetrics
from ai_services.portrait.dimension import AGENT, CUSTOMER, ORGANISATION, TASK, USER, Subject
from ai_services.portrait.distribution import Distribution, distribution_of
from ai_services.portrait.law.durations import ERROR, middle_ms
from ai_services.portrait.period import of_date
from shared.data_access.relational.postgres import Postgres
from shared.errors import Conflict
from shared.telemetry.metrics import Metrics
from tests.ai_services.portrait.calls import Call, Organisation, assert_law, at, new_organisation
from tests.ai_services.portrait.counting.oracle import assert_counted, bucket

FIRST = Call("c1", "u1", at("2024-12-04 09:30"), duration_ms=1500, rounds=3, level_name="A",
             customer_id="k1", task_id="t1", agent_id="a1")  # fmt: skip
SECOND = Call("c2", "u2", at("2024-12-12 10:00"), "busy", customer_id="k1", task_id="t1")


async def counted(organisation: Organisation) -> None:
    await catch_up(lambda: organisation.db.tenant(organisation.org_id), organisation.org_id)


async def test_the_same_ids_in_two_organisations_are_two(organisation: Organisation) -> None:
    other = await new_organisation(organisation.db, "America/New_York")
    await organisation.write(FIRST, SECOND)
    await other.write(replace(FIRST, rounds=7))
    await counted(organisation)
    assert await other.stored() == {}
    await counted(other)
    await assert_law(organisation, [FIRST, SECOND])
    await assert_law(other, [replace(FIRST, rounds=7)])


async def test_calls_of_any_year_are_counted(organisation: Organisation) -> None:
    days = ("1970-01-01 00:00", "2020-12-31 23:59", "2021-01-03 10:00",
            "2024-02-29 12:00", "2099-12-31 23:59", "9998-12-30 12:00")  # fmt: skip
    calls = [replace(FIRST, callid=f"c{n}", started_at=at(day)) for n, day in enumerate(days)]
    await organisation.write(*calls)
    await counted(organisation)
    await assert_law(organisation, calls)
    assert ("week", "2020-W53", "u1") in await organisation.stored()


async def test_a_period_that_was_closed_is_reopened_and_closed_when_all_is_counted(
    organisation: Organisation,
) -> None:
    await organisation.write(FIRST)
    await counted(organisation)
    assert await organisation.statuses("week") == {"2024-W49": "pending"}
    await compute(organisation.db, organisation.org_id, ["week"])
    assert await organisation.statuses("week") == {"2024-W49": "completed"}
    await organisation.write(replace(FIRST, rounds=9))
    await counted(organisation)
    assert await organisation.statuses("week") == {"2024-W49": "completed"}


async def test_events_name_whose_quarter_has_changed_and_who_is_gone(
    organisation: Organisation,
) -> None:
    await organisation.write(FIRST, SECOND)
    await counted(organisation)
    await organisation.delete("c1")
    await counted(organisation)
    quarters = [told for _, told in await organisation.events() if told["period_type"] == "quarter"]
    assert [(sorted(one["changed"]), one["removed"]) for one in quarters] == [
        (["u1", "u2"], []),
        ([], ["u1"]),
    ]
    assert quarters[1]["metrics"]["total_calls"] == 1


async def test_what_is_nowhere_counted_is_no_change(organisation: Organisation) -> None:
    await organisation.write(FIRST)
    await counted(organisation)
    async with organisation.db.tenant(organisation.org_id) as tx:
        await tx.execute("UPDATE call_record_enriched SET reason = 'x', updated_at = now()")
        assert await tx.fetchval("SELECT count(*) FROM portrait_change") == 0


async def test_portraits_that_are_older_than_the_log_are_computed_before_they_are_counted(
    unlogged: Organisation, db: Postgres
) -> None:
    """After an upgrade: what came in before isn't in the log, what came since is."""
    await unlogged.write(FIRST)
    async with db.tenant(unlogged.org_id) as tx:
        await tx.execute(
            "INSERT INTO portrait_counting VALUES ($1, 'Asia/Shanghai', false)", unlogged.org_id
        )
    await replace(unlogged, logged=True).write(SECOND)
    counting = Counting(db, CountingMetrics(Metrics("portrait", 1).registry))
    await counting.round()
    assert await unlogged.stored() == {}
    with pytest.raises(Conflict):
        await verify(db, unlogged.org_id)
    await compute(db, unlogged.org_id, ["week"])  # everything, whatever was asked for
    assert await assert_counted(unlogged) == 2


async def test_verifying_finds_what_is_wrong_and_repairs_it(organisation: Organisation) -> None:
    await organisation.write(FIRST, SECOND)
    await counted(organisation)
    await organisation.write(replace(FIRST, callid="c3"))  # isn't counted yet, and no difference
    db, org_id = organisation.db, organisation.org_id
    assert [one.period.key for one in await verify(db, org_id) if one.wrong] == []
    async with db.tenant(org_id) as tx:
        await tx.execute(
            "UPDATE customer_portrait_snapshot SET total_rounds = 99 WHERE period_key = '2024-W49'"
        )
        await tx.execute("UPDATE portrait_hour SET calls = calls + 1 WHERE dimension = 'task'")
        await tx.execute("DELETE FROM agent_portrait_snapshot WHERE period_type = 'quarter'")
    for repair in (False, True):
        found = await verify(db, org_id, repair=repair)
        assert {one.period.key: (one.portraits, one.days) for one in found if one.wrong} == {
            "2024-W49": (1, 0),
            "2024-12": (0, 2),
            "2024-Q4": (1, 0),
        }
    assert len(await verify(db, org_id, sample=2)) == 2
    await counted(organisation)
    assert await assert_counted(organisation) == 3


async def test_when_calls_were_and_how_long(organisation: Organisation) -> None:
    calls = [
        replace(FIRST, callid=f"d{n}", started_at=at(f"2024-12-04 {9 + n % 3:02}:30"),
                duration_ms=1000 * (n + 1))
        for n in range(9)
    ]  # fmt: skip
    await organisation.write(*calls, SECOND)
    await counted(organisation)
    december = of_date("month", date(2024, 12, 1))

    async def of(subject: Subject) -> Distribution:
        async with organisation.db.tenant(organisation.org_id, readonly=True) as tx:
            return await distribution_of(tx, organisation.org_id, subject, december)

    hers = await of(Subject(USER, "u1"))
    assert hers.calls[2][9:12] == hers.connected[2][9:12] == (3, 3, 3)  # Wednesday
    assert sum(map(sum, hers.calls)) == 9
    assert hers.p50_duration == pytest.approx(5, rel=ERROR)
    assert hers.p90_duration == pytest.approx(9, rel=ERROR)
    assert (hers.days, hers.last_call_at) == (1, at("2024-12-04 11:30"))
    assert await of(Subject(AGENT, "a1")) == hers
    everybody = await of(Subject(ORGANISATION, ""))
    assert everybody.calls[3][10] == 1
    assert everybody.connected[3][10] == 0
    assert (everybody.days, everybody.last_call_at) == (2, SECOND.started_at)
    for subject in (Subject(TASK, "t1"), Subject(CUSTOMER, "k1")):
        assert await of(subject) == everybody
    nobody = await of(Subject(USER, "nobody"))
    assert (nobody.days, nobody.p50_duration, nobody.last_call_at) == (0, None, None)


@pytest.mark.parametrize("milliseconds", [0, 1, 127, 128, 129, 999, 61_234, 3_600_001, 2**31 - 1])
def test_the_middle_of_a_bucket_is_near_all_durations_in_it(milliseconds: int) -> None:
    assert abs(middle_ms(bucket(milliseconds)) - milliseconds) <= milliseconds * ERROR

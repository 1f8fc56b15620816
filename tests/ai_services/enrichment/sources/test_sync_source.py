"""Reading a dialler's monthly tables: every call once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ai_services.enrichment.imports.sweep import end_runs
from ai_services.enrichment.imports.taking_back import take_back
from ai_services.enrichment.sources import store
from shared.jobs.store import jobs
from tests.ai_services.enrichment.sources.dialler import ZONE, Call, Dialler, calls
from tests.ai_services.enrichment.sources.sync_shop import SyncShop
from tests.contract.proxy import proxied
from tests.ports import free_port
from tests.shared.jobs.workplace import until

DAY = datetime(2024, 12, 2)
NOVEMBER, DECEMBER = (f"autodialer_call_record_2024_{month}" for month in (11, 12))


async def two_months(source: Dialler, count: int = 250) -> None:
    """Calls of the same days, whose tasks were made in different months."""
    for number, month in enumerate(("2024_11", "2024_12")):
        await source.month(month)
        await source.add(month, list(calls(count, DAY, 3, seed=number, mark=f"m{number}")))


async def rejects(shop: SyncShop) -> list[tuple[Any, ...]]:
    return await shop.rows("SELECT field, value, raw FROM import_reject ORDER BY line")


async def test_calls_come_in_with_what_was_said(shop: SyncShop, source: Dialler) -> None:
    await two_months(source)
    shop.connect(source)
    result = await shop.sync()
    assert (result["rows"], result["inserted"], result["tables"]) == (500, 500, 2)
    found = await shop.state()
    assert {row[-1] for row in found} == {NOVEMBER, DECEMBER}
    spoken = [row for row in found if row[11]]
    assert spoken
    assert all(row[8] == "connected" for row in spoken)
    there = dict(
        await source.run(
            f"SELECT callid, calldate FROM {NOVEMBER} UNION SELECT callid, calldate FROM {DECEMBER}"
        )
    )
    assert {row[0]: row[3] for row in found} == {
        callid: at.replace(tzinfo=ZoneInfo(ZONE)).astimezone(UTC) for callid, at in there.items()
    }


async def test_a_second_run_brings_what_is_new_late_or_corrected(
    shop: SyncShop, source: Dialler
) -> None:
    yesterday = datetime.now(ZoneInfo(ZONE)).replace(tzinfo=None) - timedelta(days=1)
    month = f"{yesterday:%Y_%m}"
    table = f"autodialer_call_record_{month}"
    await source.month(month)
    at = yesterday.replace(hour=12, minute=0, second=0, microsecond=0)
    first = [Call(f"c-{number}", at + timedelta(seconds=number)) for number in range(5)]
    await source.add(month, first)
    shop.connect(source)
    assert (await shop.sync())["inserted"] == 5
    await source.add(month, [Call("late", at - timedelta(hours=6))])
    await source.run(f"UPDATE {table} SET duration = 77000 WHERE callid = 'c-3'")
    today = datetime.now(ZoneInfo(ZONE)).replace(tzinfo=None)
    await source.add(month, [Call("today", today)])
    again = await shop.sync()
    assert (again["inserted"], again["updated"], again["unchanged"]) == (1, 1, 4)
    assert {row[0] for row in await shop.state()} == {*(one.callid for one in first), "late"}


async def test_a_column_of_changes_brings_old_calls_that_were_corrected(
    shop: SyncShop, source: Dialler
) -> None:
    await source.month("2024_12")
    await source.run(
        f"ALTER TABLE {DECEMBER} ADD changed datetime NOT NULL DEFAULT '2024-12-02', ADD KEY (changed)"
    )
    await source.add("2024_12", [Call("old", DAY), Call("kept", DAY)])
    shop.connect(source, 'changed = "changed"\nhistory_months = 1200')
    await shop.sync()
    yesterday = datetime.now(ZoneInfo(ZONE)) - timedelta(days=1)
    await source.run(
        f"UPDATE {DECEMBER} SET rounds = 9, changed = %s WHERE callid = 'old'",
        f"{yesterday:%Y-%m-%d %H:%M:%S}",
    )
    again = await shop.sync()
    assert (again["rows"], again["updated"]) == (1, 1)


async def test_rows_that_were_never_changed_come_in_by_their_time(
    shop: SyncShop, source: Dialler
) -> None:
    yesterday = datetime.now(ZoneInfo(ZONE)).replace(tzinfo=None, hour=12) - timedelta(days=1)
    month = f"{yesterday:%Y_%m}"
    table = f"autodialer_call_record_{month}"
    await source.month(month)
    await source.run(f"ALTER TABLE {table} ADD changed datetime, ADD KEY (changed)")
    await source.add(month, [Call("first", yesterday)])
    shop.connect(source, 'changed = "changed"')
    await shop.sync()
    await source.add(month, [Call(f"new-{number:03}", yesterday) for number in range(250)])
    await source.run(f"UPDATE {table} SET changed = calldate WHERE callid > 'new-1'")
    again = await shop.sync()
    assert (again["inserted"], again["unchanged"], again["rows"]) == (250, 1, 251)
    ((through,),) = await shop.rows("SELECT through FROM source_shard")
    assert through > yesterday.replace(tzinfo=ZoneInfo(ZONE))


async def test_what_is_known_to_be_in_ends_where_the_run_began(
    shop: SyncShop, source: Dialler
) -> None:
    """However far its days reach: nobody knows what comes in them."""
    await source.month("2024_12")
    await source.add("2024_12", [Call("now", DAY)])
    shop.connect(source, "history_months = 1200")
    tomorrow = datetime.now(ZoneInfo(ZONE)) + timedelta(days=1)
    await shop.sync(to=f"{tomorrow:%Y-%m-%d}")
    ((through, started),) = await shop.rows(
        "SELECT through, started_at FROM source_shard, import_run"
    )
    assert through == started


async def test_what_was_taken_back_comes_with_the_next_run(shop: SyncShop, source: Dialler) -> None:
    await two_months(source, 20)
    shop.connect(source, "history_months = 1200")
    await shop.sync()
    ((import_id,),) = await shop.rows("SELECT import_id FROM import_run")
    assert (await shop.sync())["rows"] == 0
    assert (await take_back(shop.db, shop.org_id, import_id)).deleted == 40
    assert (await shop.sync())["inserted"] == 40
    assert len(await shop.state()) == 40


async def test_a_mark_that_was_set_back_meanwhile_stays_there(shop: SyncShop) -> None:
    days = [datetime(2024, 12, day, tzinfo=UTC) for day in range(1, 10)]

    async def marked(through: datetime, after: datetime | None) -> datetime:
        async with shop.db.tenant(shop.org_id) as tx:
            await store.advance(
                tx, shop.org_id, "dialler", DECEMBER, through, after=after, ended=False
            )
        ((found,),) = await shop.rows("SELECT through FROM source_shard")
        return found

    assert await marked(days[2], None) == days[2]
    assert await marked(days[5], days[1]) == days[5]
    assert await marked(days[3], days[1]) == days[5]
    assert await marked(days[8], days[6]) == days[5]
    assert await marked(days[8], None) == days[8]


async def test_a_row_that_is_marked_as_deleted_goes(shop: SyncShop, source: Dialler) -> None:
    await source.month("2024_12")
    await source.add("2024_12", [Call("gone", DAY), Call("stays", DAY)])
    shop.connect(source, 'deleted = "is_deleted"')
    await shop.sync()
    await source.run(f"UPDATE {DECEMBER} SET is_deleted = 1 WHERE callid = 'gone'")
    again = await shop.sync(**{"from": "2024-12-02", "to": "2024-12-02"})
    assert (again["deleted"], again["unchanged"]) == (1, 1)
    assert [row[0] for row in await shop.state()] == ["stays"]
    events = await shop.rows(
        "SELECT payload FROM outbox WHERE topic = 'calls' ORDER BY outbox.id DESC LIMIT 1"
    )
    assert events[0][0]["callids"] == ["gone"]
    assert events[0][0]["left_days"] == [["acct-1", "2024-12-02"]]


async def test_days_narrow_what_is_read(shop: SyncShop, source: Dialler) -> None:
    await source.month("2024_12")
    midnights = [Call(f"d{day}", DAY + timedelta(days=day)) for day in range(4)]
    await source.add("2024_12", [*midnights, Call("end", DAY + timedelta(days=3, seconds=-1))])
    shop.connect(source)
    await shop.sync(**{"from": "2024-12-03", "to": "2024-12-04"})
    assert [row[0] for row in await shop.state()] == ["d1", "d2", "end"]
    # It left a gap before itself, so that what is new is still everything.
    assert (await shop.sync())["inserted"] == 2


async def test_days_narrow_what_is_read_of_times_that_are_text(
    shop: SyncShop, source: Dialler
) -> None:
    await source.month("2024_12")
    await source.run(f"ALTER TABLE {DECEMBER} MODIFY calldate varchar(40)")
    names = ("before", "first", "last", "after")
    await source.add("2024_12", [Call(name, DAY) for name in names])
    times = ("02T15:59:59Z", "02T16:00:00Z", "04T00:59:59+09:00", "04T01:00:00+09:00")
    for name, at in zip(names, times, strict=True):
        await source.run(f"UPDATE {DECEMBER} SET calldate = '2024-12-{at}' WHERE callid = '{name}'")
    shop.connect(source)
    await shop.sync(**{"from": "2024-12-03", "to": "2024-12-03"})
    assert {row[0] for row in await shop.state()} == {"first", "last"}
    await source.run(f"UPDATE {DECEMBER} SET calldate = '2024-12-2 10:00' WHERE callid = 'before'")
    result = await shop.sync(to="2024-12-25")
    assert f"{DECEMBER}.calldate" in result["failed"][DECEMBER]


async def test_what_is_wrong_is_kept_with_its_table_and_the_rest_comes_in(
    shop: SyncShop, source: Dialler
) -> None:
    await source.month("2024_12")
    bad = Call("bad", DAY, callee="no-13800138000", call_status="asleep")
    await source.add("2024_12", [Call("good", DAY), bad])
    shop.connect(source)
    result = await shop.sync()
    assert (result["inserted"], result["rejected"]) == (1, 1)
    ((field, _, raw),) = await rejects(shop)
    assert field == "call_status"  # a number that is none costs no call
    assert DECEMBER in raw
    assert "13800138000" not in raw


async def test_a_changed_column_stops_its_table_only(shop: SyncShop, source: Dialler) -> None:
    await two_months(source, 20)
    await source.run(f"ALTER TABLE {DECEMBER} CHANGE call_status disposition varchar(16)")
    shop.connect(source)
    result = await shop.sync()
    assert (result["inserted"], result["tables"]) == (20, 1)
    assert f"{DECEMBER}.call_status" in result["failed"][DECEMBER]
    assert "'disposition'" in result["failed"][DECEMBER]
    ((error, synced),) = await shop.rows("SELECT error, synced_at FROM source_sync")
    assert (DECEMBER in error, synced) == (True, None)
    ((told,),) = await shop.rows("SELECT error FROM import_run")
    assert "could not be read" in told
    await source.run(f"ALTER TABLE {DECEMBER} CHANGE disposition call_status varchar(16)")
    assert (await shop.sync())["inserted"] == 20
    ((error, synced),) = await shop.rows("SELECT error, synced_at FROM source_sync")
    assert error is None
    assert synced is not None


async def test_a_column_more_or_a_table_of_nothing_is_no_matter(
    shop: SyncShop, source: Dialler
) -> None:
    await two_months(source, 20)
    await source.month("2024_10")
    await source.run(f"ALTER TABLE {DECEMBER} ADD novelty json")
    shop.connect(source)
    result = await shop.sync()
    assert (result["inserted"], result["tables"], result["failed"]) == (40, 3, {})


async def test_a_missing_month_is_noted(shop: SyncShop, source: Dialler) -> None:
    await two_months(source, 20)
    await source.run(f"DROP TABLE {NOVEMBER}")
    await source.month("2024_10")
    shop.connect(source)
    result = await shop.sync()
    assert (result["tables"], result["missing"]) == (2, [NOVEMBER])


async def test_calls_of_two_tables_belong_to_the_first(shop: SyncShop, source: Dialler) -> None:
    for month, rounds in (("2024_11", 3), ("2024_12", 7)):
        await source.month(month)
        await source.add(month, [Call("twice", DAY, rounds=rounds), Call(f"own-{month}", DAY)])
    shop.connect(source, "concurrency = 1")
    for _ in range(2):
        await shop.sync(**{"from": "2024-12-01", "to": "2024-12-05"})
        found = {row[0]: (row[6], row[-1]) for row in await shop.state()}
        assert found["twice"] == (3, NOVEMBER)
        assert len(found) == 3
    ((notes,),) = await shop.rows("SELECT notes FROM import_run ORDER BY started_at DESC LIMIT 1")
    assert any("twice" in note and NOVEMBER in note for note in notes)


async def test_tables_without_an_index_of_their_times_are_read_by_key(
    shop: SyncShop, source: Dialler
) -> None:
    await two_months(source)
    await source.run(f"ALTER TABLE {DECEMBER} DROP KEY calldate")
    shop.connect(source)
    assert (await shop.sync())["inserted"] == 500


async def test_a_table_that_appears_meanwhile_is_read(shop: SyncShop, source: Dialler) -> None:
    await source.month("2024_11")
    await source.add("2024_11", list(calls(3000, DAY, 3)))
    shop.connect(source, "concurrency = 1")
    async with shop.working():
        job_id = await shop.ask()

        async def begun() -> bool:
            return (await shop.job(job_id)).progress.done > 0

        await until(begun)
        await source.month("2024_12")
        await source.add("2024_12", [Call("new", DAY)])
        result = await shop.result(job_id)
    assert result["tables"] == 2


async def test_a_source_that_goes_away_for_a_while_is_read_on(
    shop: SyncShop, source: Dialler
) -> None:
    await two_months(source, 1500)
    async with proxied(f"http://{source.host}:{source.port}/{source.name}") as (_, proxy):
        real, source.port = source.port, proxy.port
        shop.connect(source)
        source.port = real
        async with shop.working():
            job_id = await shop.ask()

            async def begun() -> bool:
                return (await shop.job(job_id)).progress.done > 0

            await until(begun)
            await proxy.cut()
            await asyncio.sleep(0.3)
            await proxy.start()
            result = await shop.result(job_id)
    assert result["inserted"] == 3000
    assert (await shop.job(job_id)).failures == 0


async def test_a_source_that_is_away_fails_the_job_which_is_tried_again(
    shop: SyncShop, source: Dialler
) -> None:
    await two_months(source, 20)
    real, source.port = source.port, free_port()
    shop.connect(source)
    source.port = real
    async with shop.working():
        job_id = await shop.ask()

        async def failed() -> bool:
            return (await shop.job(job_id)).failures > 0

        await until(failed, 30)
        job = await shop.job(job_id)
        assert job.state == "waiting"
        assert "Source dialler: MySQL" in (job.error or "")


async def test_a_wrong_password_says_so_and_no_more(shop: SyncShop, source: Dialler) -> None:
    shop.connect(source)
    text = shop.sources.read_text().replace("root@", "nobody-here@")
    shop.sources.write_text(text)
    async with shop.working():
        job_id = await shop.ask()

        async def failed() -> bool:
            return (await shop.job(job_id)).failures > 0

        await until(failed, 30)
    assert "SOURCE_SECRET" not in str((await shop.job(job_id)).error)
    assert "refuses this user or password" in str((await shop.job(job_id)).error)


async def test_a_database_without_such_tables_is_an_error(shop: SyncShop, source: Dialler) -> None:
    shop.connect(source)
    async with shop.working():
        job_id = await shop.ask()

        async def failed() -> bool:
            return (await shop.job(job_id)).failures > 0

        await until(failed, 30)
    assert "there is no table autodialer_call_record_{YYYY_MM}" in str(
        (await shop.job(job_id)).error
    )


async def test_a_source_of_somebody_else_is_none(shop: SyncShop, source: Dialler) -> None:
    shop.connect(source)
    shop.sources.write_text(shop.sources.read_text().replace(shop.slug, "somebody-else"))
    async with shop.working():
        job_id = await shop.ask()

        async def failed() -> bool:
            return (await shop.job(job_id)).failures > 0

        await until(failed, 30)
    assert "There is no source 'dialler' of this organisation" in str(
        (await shop.job(job_id)).error
    )


async def test_the_nightly_job_reads_each_source_by_a_job_of_its_own(
    shop: SyncShop, source: Dialler
) -> None:
    await two_months(source, 20)
    shop.connect(source)
    async with shop.working():
        first = await shop.result(await shop.ask_for("sync_call_records"))
        result = await shop.result(first["jobs"]["dialler"])
    assert result["inserted"] == 40


async def cancelled_half_way(shop: SyncShop, source: Dialler) -> int:
    """A run that has brought in some pages of two tables with 3,000 calls."""
    await two_months(source, 1500)
    shop.connect(source)
    async with shop.working():
        job_id = await shop.ask()

        async def begun() -> bool:
            return (await shop.job(job_id)).progress.done > 0

        await until(begun)
    async with shop.db.system() as tx:
        await jobs.cancel(tx, job_id)
    return job_id


async def retried(shop: SyncShop, job_id: int) -> dict[str, Any]:
    async with shop.db.system() as tx:
        await jobs.retry(tx, job_id)
    async with shop.working():
        return await shop.result(job_id)


@pytest.mark.slow
async def test_a_run_whose_import_was_ended_goes_on_in_another(
    shop: SyncShop, source: Dialler
) -> None:
    job_id = await cancelled_half_way(shop, source)
    assert await end_runs(shop.db) == 1
    ((ended,),) = await shop.rows("SELECT r::text FROM import_run r")
    result = await retried(shop, job_id)
    assert (result["rows"], result["inserted"]) == (3000, 3000)
    (first, _), (second, inserted) = await shop.rows(
        "SELECT r::text, inserted FROM import_run r ORDER BY started_at"
    )
    assert first == ended
    assert second != ended
    assert 0 < inserted < 3000
    assert len(await shop.state()) == 3000


@pytest.mark.slow
async def test_a_run_whose_import_was_taken_back_begins_anew(
    shop: SyncShop, source: Dialler
) -> None:
    job_id = await cancelled_half_way(shop, source)
    ((import_id,),) = await shop.rows("SELECT import_id FROM import_run")
    assert (await take_back(shop.db, shop.org_id, import_id)).deleted > 0
    result = await retried(shop, job_id)
    assert result["inserted"] == 3000
    assert len(await shop.state()) == 3000


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
async def test_killed_processes_lose_and_double_nothing(
    shop: SyncShop, source: Dialler, kills: int
) -> None:
    count = 250 * kills + 500
    await two_months(source, count)
    shop.connect(source)
    chance = random.Random(kills)
    job_id = await shop.ask()
    for number in range(kills):
        process = await shop.process()
        reached = (number + 1) * 2 * count // (kills + 2)
        try:

            async def far_enough(reached: int = reached) -> bool:
                now = await shop.job(job_id)
                return now.progress.done >= reached or now.finished_at is not None

            await until(far_enough, 60)
            await asyncio.sleep(chance.uniform(0, 0.1))
        finally:
            process.kill()
            await process.wait()
    async with shop.working():
        result = await shop.result(job_id)
    assert (result["rows"], result["inserted"]) == (2 * count, 2 * count)
    found = await shop.state()
    assert len(found) == 2 * count
    ((told, inserted),) = await shop.rows("SELECT count(*), sum(inserted) FROM import_run")
    assert (told, inserted) == (1, 2 * count)
    # A source that was read without being disturbed has the same.
    async with shop.db.tenant(shop.org_id) as tx:
        await tx.execute("DELETE FROM call_record_enriched WHERE org_id = $1", shop.org_id)
        await tx.execute("DELETE FROM source_shard WHERE org_id = $1", shop.org_id)
    await shop.sync()
    assert await shop.state() == found

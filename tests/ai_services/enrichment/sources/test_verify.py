"""Comparing a source with what came in, and repairing what differs."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

from ai_services.enrichment.customers.erasing import Order, erase_call
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.sources.compared import Compared, digest_of
from ai_services.enrichment.sources.sources_file import read_sources
from ai_services.enrichment.sources.verify import Verification
from tests.ai_services.enrichment.sources.dialler import Call, Dialler, calls
from tests.ai_services.enrichment.sources.sync_shop import SECRETS, SyncShop
from tests.ai_services.enrichment.test_importing import KEY
from tests.shared.jobs.workplace import until

DAY = datetime(2024, 12, 2)
FIRST, LAST = date(2024, 12, 2), date(2024, 12, 4)
TABLE = "autodialer_call_record_2024_12"


async def compared(shop: SyncShop, *, repair: bool = False) -> list[Compared]:
    settings = read_sources(shop.sources, SECRETS)["dialler"]
    verification = await Verification.of(shop.db, KEY, shop.org_id, settings, repair=repair)
    return [one async for one in verification.days(FIRST, LAST)]


async def synced(shop: SyncShop, source: Dialler) -> None:
    for number, month in enumerate(("2024_11", "2024_12")):
        await source.month(month)
        await source.add(month, list(calls(150, DAY, 3, seed=number, mark=f"m{number}")))
    shop.connect(source)
    await shop.sync()


async def test_what_came_in_whole_is_equal_by_day_and_table(
    shop: SyncShop, source: Dialler
) -> None:
    await synced(shop, source)
    found = await compared(shop)
    assert [(one.shard[-7:], one.day.day) for one in found] == [
        (month, day) for day in (2, 3, 4) for month in ("2024_11", "2024_12")
    ]
    assert sum(one.theirs for one in found) == sum(one.ours for one in found) == 300
    assert all(one.their_sum == one.our_sum != 0 for one in found)
    assert not any(one.differs for one in found)


async def spoil(shop: SyncShop, source: Dialler) -> tuple[str, str, str, str]:
    """One call of the second day each: missing here, changed there, gone there, said otherwise."""
    rows = await source.run(
        f"SELECT callid FROM {TABLE} c WHERE calldate >= '2024-12-03' AND calldate < '2024-12-04'"
        " AND callid NOT IN (SELECT callid FROM autodialer_call_record_detail_2024_12)"
        " ORDER BY callid LIMIT 3"
    )
    missing, changed, gone = (row[0] for row in rows)
    ((said,),) = await source.run(
        f"SELECT min(callid) FROM {TABLE} c JOIN autodialer_call_record_detail_2024_12 d USING (callid)"
        " WHERE calldate >= '2024-12-03' AND calldate < '2024-12-04'"
    )
    async with shop.db.tenant(shop.org_id) as tx:
        await tx.execute("DELETE FROM call_record_enriched WHERE callid = $1", missing)
    await source.run(f"UPDATE {TABLE} SET agent_id = 'other' WHERE callid = %s", changed)
    await source.run(f"DELETE FROM {TABLE} WHERE callid = %s", gone)
    await source.run(
        "UPDATE autodialer_call_record_detail_2024_12 SET text = '客户：别再打了' WHERE callid = %s",
        said,
    )
    return missing, changed, gone, said


async def test_differences_are_named_and_nothing_is_touched(
    shop: SyncShop, source: Dialler
) -> None:
    await synced(shop, source)
    missing, changed, gone, said = await spoil(shop, source)
    before = await shop.state()
    found = [one for one in await compared(shop) if one.differs]
    (one,) = found
    assert (one.shard, one.day) == (TABLE, date(2024, 12, 3))
    assert one.missing.callids == [missing]
    assert sorted(one.changed.callids) == sorted([changed, said])
    assert one.extra.callids == [gone]
    assert one.their_sum != one.our_sum
    assert one.theirs == one.ours
    assert any(missing in line for line in one.examples())
    assert one.to_json()["missing"] == {"count": 1, "callids": [missing]}
    assert await shop.state() == before


async def test_differences_are_repaired(shop: SyncShop, source: Dialler) -> None:
    await synced(shop, source)
    missing, changed, gone, said = await spoil(shop, source)
    assert sum(one.repaired for one in await compared(shop, repair=True)) == 4
    assert not any(one.differs for one in await compared(shop))
    found = {row[0]: row for row in await shop.state()}
    assert missing in found
    assert gone not in found
    assert found[changed][12] == "other"
    assert "别再打了" in found[said][11]


def test_a_call_without_an_agent_has_the_digest_that_it_always_had() -> None:
    row = {
        "task_id": "task-1", "agent_id": None, "user_id": "acct-1", "customer_id": None,
        "started_at": DAY.replace(tzinfo=UTC), "duration_ms": 12_000, "bill_ms": 12_000, "rounds": 2,
        "level_name": "B", "call_status": "connected", "hangup_by": 2,
    }  # fmt: skip
    assert digest_of("c-1", row, b"p", None) == 0x41872E7852169044
    assert digest_of("c-1", {**row, "agent_id": "ann"}, b"p", None) != 0x41872E7852169044


async def test_many_differences_are_counted_and_some_named(shop: SyncShop, source: Dialler) -> None:
    await source.month("2024_12")
    shop.connect(source)
    await source.add("2024_12", [Call(f"c-{n:03}", DAY + timedelta(seconds=n)) for n in range(150)])
    (one,) = await compared(shop)
    assert (one.missing.count, len(one.missing.callids), one.ours) == (150, 20, 0)


async def test_calls_of_another_table_are_no_difference(shop: SyncShop, source: Dialler) -> None:
    for month, rounds in (("2024_11", 3), ("2024_12", 7)):
        await source.month(month)
        await source.add(month, [Call("twice", DAY, rounds=rounds), Call(f"own-{month}", DAY)])
    shop.connect(source, "concurrency = 1")
    await shop.sync()
    first, second = await compared(shop)
    assert (first.theirs, first.moved, second.theirs, second.moved) == (2, 0, 1, 1)
    assert not any(one.differs for one in (first, second))


async def test_what_was_erased_is_neither_brought_in_again_nor_missed(
    shop: SyncShop, source: Dialler
) -> None:
    await synced(shop, source)
    order = Order(PhoneCipher(KEY, shop.org_id).digests, "user:admin")
    (callid, *_), *_ = await shop.state()
    await erase_call(shop.db, shop.org_id, callid, order)
    again = await shop.sync(**{"from": str(FIRST), "to": str(LAST)})
    assert (again["inserted"], again["failed"]) == (0, {})
    found = await compared(shop, repair=True)
    assert not any(one.differs for one in found)
    assert (sum(one.erased for one in found), sum(one.theirs for one in found)) == (1, 299)
    assert callid not in [row[0] for row in await shop.state()]


async def test_a_repair_spares_a_call_whose_row_cant_be_read_any_more(
    shop: SyncShop, source: Dialler
) -> None:
    await source.month("2024_12")
    await source.add("2024_12", [Call("refused", DAY), Call("gone", DAY), Call("same", DAY)])
    shop.connect(source)
    await shop.sync()
    await source.run(f"UPDATE {TABLE} SET call_status = 'asleep' WHERE callid = 'refused'")
    await source.run(f"DELETE FROM {TABLE} WHERE callid = 'gone'")
    (one,) = await compared(shop, repair=True)
    assert (one.rejected, one.extra.callids, one.repaired) == (1, ["gone"], 1)
    assert [row[0] for row in await shop.state()] == ["refused", "same"]


async def test_a_repair_spares_what_comes_in_meanwhile(shop: SyncShop, source: Dialler) -> None:
    await source.month("2024_12")
    await source.add("2024_12", [Call("first", DAY)])
    shop.connect(source)
    await shop.sync()
    await source.run(f"LOCK TABLES {TABLE} WRITE")
    comparing = asyncio.create_task(compared(shop, repair=True))

    async def reads() -> bool:
        waiting = await source.run(
            "SELECT count(*) FROM information_schema.processlist WHERE db = %s AND state LIKE %s",
            source.name, "Waiting for table%",
        )  # fmt: skip
        return bool(waiting[0][0])

    await until(reads)
    async with shop.db.tenant(shop.org_id) as tx:
        await tx.execute(
            """INSERT INTO call_record_enriched (org_id, callid, user_id, call_date, started_at,
                   duration_ms, bill_ms, rounds, call_status)
               SELECT org_id, 'arriving', user_id, call_date, started_at, 0, 0, 0, 'busy'
               FROM call_record_enriched"""
        )
        await tx.execute(
            "INSERT INTO source_call SELECT org_id, 'arriving', source, shard FROM source_call"
        )
    await source.run("UNLOCK TABLES")
    (one,) = await comparing
    assert not one.differs
    assert [row[0] for row in await shop.state()] == ["arriving", "first"]


async def test_a_repair_spares_the_calls_of_a_table_that_was_dropped(
    shop: SyncShop, source: Dialler
) -> None:
    await synced(shop, source)
    before = await shop.state()
    settings = read_sources(shop.sources, SECRETS)["dialler"]
    verification = await Verification.of(shop.db, KEY, shop.org_id, settings, repair=True)
    found = []
    async for one in verification.days(FIRST, LAST):
        if not found:
            await source.run(f"DROP TABLE {TABLE}")
        found.append(one)
    assert [one.shard for one in found].count(TABLE) == 1  # of the first day, before it went
    assert len(found) == 4
    assert not any(one.differs for one in found)
    assert await shop.state() == before

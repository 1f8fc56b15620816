"""A customer with many calls is erased by a job, and portraits follow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ai_services.enrichment.customers import erasing, merging
from ai_services.enrichment.customers.erasing import Order
from ai_services.enrichment.phone import PhoneCipher
from ai_services.portrait.computing.computation import compute
from ai_services.portrait.computing.jobs import JOBS as PORTRAIT_JOBS
from shared.data_access.relational.postgres import Postgres
from shared.jobs.worker import Worker
from tests.ai_services.enrichment.calls_files import call
from tests.ai_services.enrichment.records import write_jsonl
from tests.ai_services.enrichment.test_importing import KEY, bring_in
from tests.ai_services.enrichment.workshop import Workshop
from tests.shared.jobs.workplace import QUICK, running, until


def order(shop: Workshop) -> Order:
    return Order(PhoneCipher(KEY, shop.org_id).digests, "user:admin")


async def counted(shop: Workshop, customer_id: str) -> int:
    async with shop.db.tenant(shop.org_id) as tx:
        return int(
            await tx.fetchval(
                "SELECT count(*) FROM call_record_enriched WHERE customer_id = $1", customer_id
            )
        )


async def filled(shop: Workshop, path: Any, count: int) -> None:
    calls = [
        call(
            callid=f"call-{n:05}", customer_id="hers" if n % 3 else "x", user_id=f"account-{n % 5}",
            started_at=f"2024-{n % 12 + 1:02}-04T09:30:00+08:00",
        )
        for n in range(count)
    ]  # fmt: skip
    await bring_in(shop.db, shop.org_id, write_jsonl(path, calls))


async def snapshots(shop: Workshop) -> list[dict[str, Any]]:
    async with shop.db.tenant(shop.org_id) as tx:
        rows = await tx.fetch(
            "SELECT * FROM user_portrait_snapshot ORDER BY period_type, period_key, user_id"
        )
    return [{k: v for k, v in row.items() if k != "computed_at"} for row in rows]


async def test_a_job_erases_them_all_once_however_often_it_is_asked(
    shop: Workshop, tmp_path
) -> None:
    await filled(shop, tmp_path / "calls.jsonl", 1800)
    asked = [
        await erasing.erase_customer(shop.db, shop.org_id, "hers", order(shop)) for _ in range(2)
    ]
    assert asked[0].erasure_id == asked[1].erasure_id
    assert asked[0].job_id == asked[1].job_id is not None
    async with shop.working():
        result = await shop.result(asked[0].job_id)
    assert result["calls"] == 1200
    done = await erasing.get(shop.db, shop.org_id, result["erasure_id"])
    assert (done.calls, done.subject) == (1200, None)
    assert (await counted(shop, "hers"), await counted(shop, "x")) == (0, 600)


@pytest.mark.slow
async def test_whichever_process_is_killed_all_calls_go_and_the_receipt_counts_each_once(
    shop: Workshop, tmp_path
) -> None:
    await filled(shop, tmp_path / "calls.jsonl", 6000)
    begun = await erasing.erase_customer(shop.db, shop.org_id, "hers", order(shop))
    assert begun.job_id is not None

    async def under_way() -> bool:
        return await counted(shop, "hers") < 4000

    process = await shop.process()
    await until(under_way)
    process.kill()
    await process.wait()
    async with shop.working():
        await shop.result(begun.job_id)
    done = await erasing.get(shop.db, shop.org_id, str(begun.erasure_id))
    assert (done.calls, await counted(shop, "hers"), await counted(shop, "x")) == (4000, 0, 2000)


async def test_a_job_that_was_cancelled_is_put_again_by_who_asks_again(
    shop: Workshop, tmp_path
) -> None:
    await filled(shop, tmp_path / "calls.jsonl", 1800)
    begun = await erasing.erase_customer(shop.db, shop.org_id, "hers", order(shop))
    async with shop.db.tenant(shop.org_id) as tx:
        await tx.execute("UPDATE job SET state = 'cancelled', finished_at = now()")
    again = await erasing.erase_customer(shop.db, shop.org_id, "hers", order(shop))
    assert again.erasure_id == begun.erasure_id
    assert again.job_id != begun.job_id
    assert again.job_id is not None
    async with shop.working():
        await shop.result(again.job_id)
    assert await counted(shop, "hers") == 0


async def test_portraits_are_those_of_a_recomputation_without_a_command(
    shop: Workshop, database_url: str, tmp_path
) -> None:
    await filled(shop, tmp_path / "calls.jsonl", 120)
    await compute(shop.db, shop.org_id)
    before = await snapshots(shop)
    portraits = Postgres(database_url, pool_size=4)
    worker: Worker[Any] = Worker(
        portraits, None, PORTRAIT_JOBS, service="portrait", registry=CollectorRegistry(), pace=QUICK
    )
    async with running(worker):
        await until(lambda: declared(shop))
        await erasing.erase_customer(shop.db, shop.org_id, "hers", order(shop))
        await until(lambda: computed(shop))
    await portraits.close()
    kept = await snapshots(shop)
    assert kept != before
    await compute(shop.db, shop.org_id)
    assert await snapshots(shop) == kept
    total = sum(row["total_calls"] for row in kept if row["period_type"] == "quarter")
    assert total == 40


async def test_portraits_of_customers_follow_merge_split_and_erasure(
    shop: Workshop, database_url: str, tmp_path
) -> None:
    await filled(shop, tmp_path / "calls.jsonl", 36)
    await compute(shop.db, shop.org_id)
    portraits = Postgres(database_url, pool_size=4)
    worker: Worker[Any] = Worker(
        portraits, None, PORTRAIT_JOBS, service="portrait", registry=CollectorRegistry(), pace=QUICK
    )
    keys = order(shop)
    async with running(worker):
        await until(lambda: declared(shop))
        assert await calls_of_customers(shop) == {"hers": 24, "x": 12}
        done = await merging.merge(
            shop.db, keys.digests, shop.org_id, "x", "hers", actor="user:ann"
        )
        await until(lambda: computed(shop))
        assert await calls_of_customers(shop) == {"hers": 36}
        await merging.split(shop.db, shop.org_id, "x", done.merge_id, actor="user:ann")
        await until(lambda: computed(shop, 2))
        assert await calls_of_customers(shop) == {"hers": 24, "x": 12}
        await erasing.erase_customer(shop.db, shop.org_id, "hers", keys)
        await until(lambda: computed(shop, 3))
        assert await calls_of_customers(shop) == {"x": 12}
    await portraits.close()


async def calls_of_customers(shop: Workshop) -> dict[str, int]:
    """By the portraits of quarters."""
    async with shop.db.tenant(shop.org_id) as tx:
        rows = await tx.fetch(
            "SELECT customer_id, sum(total_calls)::int AS calls FROM customer_portrait_snapshot "
            "WHERE period_type = 'quarter' GROUP BY customer_id"
        )
    return {row["customer_id"]: row["calls"] for row in rows}


async def declared(shop: Workshop) -> bool:
    async with shop.db.system() as tx:
        return bool(
            await tx.fetchval("SELECT count(*) FROM job_type WHERE name = 'compute_portraits'")
        )


async def computed(shop: Workshop, jobs: int = 1) -> bool:
    async with shop.db.system() as tx:
        states = await tx.fetch("SELECT state FROM job WHERE name = 'compute_portraits'")
    await asyncio.sleep(0)
    return len(states) >= jobs and all(row["state"] == "succeeded" for row in states)

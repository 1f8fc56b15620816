"""An import that is taken back: its calls are gone wherever they were, others stay as they are."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID, uuid4

import pytest

from ai_services.enrichment.imports import store
from ai_services.enrichment.imports.taking_back import TakenBack, ask_to_take_back, take_back
from shared.errors import NotFound
from shared.jobs.store import jobs
from tests.ai_services.enrichment.calls_files import TURNS, as_jsonl, call
from tests.ai_services.enrichment.imports.test_uploads_api import Sender, calls
from tests.ai_services.enrichment.imports.test_uploads_api import (
    sender as sender,  # noqa: PLC0414 - a fixture
)
from tests.ai_services.enrichment.sync.test_sync_job import SYNC, folder_of, put
from tests.ai_services.enrichment.test_calls_api import config as config  # noqa: PLC0414 - a fixture
from tests.ai_services.enrichment.test_calls_api import until as eventually
from tests.ai_services.enrichment.test_importing import organisation
from tests.ai_services.enrichment.workshop import Workshop, csv_file


async def imported(shop: Workshop, *rows: dict[str, Any]) -> UUID:
    result = await shop.result(await shop.send(as_jsonl(rows), "calls.jsonl"))
    return UUID(result["import_id"])


async def callids(shop: Workshop) -> list[str]:
    async with shop.db.tenant(shop.org_id) as tx:
        found = await tx.fetch("SELECT callid FROM call_record_enriched ORDER BY callid")
    return [row["callid"] for row in found]


async def taken_back(shop: Workshop, import_id: UUID) -> TakenBack:
    return await take_back(shop.db, shop.org_id, import_id)


async def test_its_calls_are_deleted_with_what_was_said(shop) -> None:
    async with shop.working():
        first = await imported(shop, call(callid="a"), call(callid="b", turns=TURNS))
        second = await imported(shop, call(callid="c", turns=TURNS))
    assert await taken_back(shop, first) == TakenBack(first, 2, 0, 0)
    assert await callids(shop) == ["c"]
    async with shop.db.tenant(shop.org_id) as tx:
        assert await tx.fetchval("SELECT count(*) FROM call_transcript") == 1
    assert await taken_back(shop, first) == TakenBack(first, 2, 0, 0)  # nothing is left to be done
    assert await taken_back(shop, second) == TakenBack(second, 1, 0, 0)
    assert await callids(shop) == []


async def test_what_was_there_before_or_changed_since_stays(shop) -> None:
    async with shop.working():
        before = await imported(shop, call(callid="before"), call(callid="same"))
        middle = await imported(
            shop,
            *(
                call(callid=name, rounds=3)
                for name in ("before", "later", "posted", "mine", "found")
            ),
            call(callid="said", turns=TURNS),
            call(callid="same"),
        )
        await imported(
            shop,
            call(callid="later", rounds=4),
            call(callid="found", rounds=3),
            call(callid="said", turns=TURNS[:1]),
        )
    await shop.post(call(callid="posted", rounds=5))
    assert await taken_back(shop, middle) == TakenBack(middle, 2, 3, 1)
    assert await callids(shop) == ["before", "later", "posted", "said", "same"]
    assert await taken_back(shop, before) == TakenBack(before, 1, 1, 0)
    assert await callids(shop) == ["before", "later", "posted", "said"]


async def test_a_call_that_its_own_later_rows_changed_is_still_its_own(shop) -> None:
    rows = [call(callid=f"c-{number % 6000}", rounds=number // 6000) for number in range(12_000)]
    async with shop.working():
        import_id = await imported(shop, *rows)
    (run,) = await shop.imports()
    assert run["updated"] > 0  # in another batch
    assert (await taken_back(shop, import_id)).deleted == 6000
    assert await callids(shop) == []


async def test_the_deletion_is_announced_with_whom_and_when_it_was_about(shop) -> None:
    async with shop.working():
        import_id = await imported(
            shop,
            *(
                call(callid=f"c-{number:04}", customer_id=f"k-{number % 3}")
                for number in range(1200)
            ),
        )
        lonely = await imported(shop, call(callid="lonely", customer_id=None, phone=None))
    async with shop.db.system() as tx:
        await tx.execute("DELETE FROM outbox")
    await taken_back(shop, import_id)
    await taken_back(shop, lonely)
    async with shop.db.system() as tx:
        told = await tx.fetch(
            "SELECT key, payload FROM outbox WHERE projection = 'graph' AND topic = 'calls' ORDER BY id"
        )
    named = [callid for one in told for callid in one["payload"]["callids"]]
    assert named == [*(f"c-{number:04}" for number in range(1200)), "lonely"]
    left = {tuple(pair) for one in told for pair in one["payload"].get("left", ())}
    assert left == {("u-1", f"k-{number}") for number in range(3)}
    days = [tuple(day) for one in told for day in one["payload"].get("left_days", ())]
    assert set(days) == {("u-1", "2024-03-05")}
    assert {one["key"] for one in told} == {"calls"}


@pytest.mark.slow
async def test_a_job_that_is_killed_again_and_again_takes_all_of_it_back(shop) -> None:
    async with shop.working():
        kept = await imported(shop, call(callid="kept"))
        result = await shop.result(await shop.send(csv_file(9000)))
    job_id = await ask_to_take_back(shop.db, shop.org_id, UUID(result["import_id"]))
    job, kills = await shop.killed_until_ended(job_id, random.Random(5), 3000)
    assert kills > 1
    assert job.state == "succeeded"
    assert job.result is not None
    assert job.result["deleted"] == result["inserted"]
    assert await callids(shop) == ["kept"]
    assert kept != UUID(result["import_id"])


async def test_an_import_that_runs_lets_nothing_more_in(shop) -> None:
    job_id = await shop.send(csv_file(60_000))
    async with shop.working():
        await shop.until_done(job_id, 1)
        (run,) = await shop.imports()
        back = await ask_to_take_back(shop.db, shop.org_id, run["import_id"])
        assert (await shop.result(back))["deleted"] > 0
        assert (await shop.ended(job_id)).state == "cancelled"
    assert await callids(shop) == []
    (run,) = await shop.imports()
    assert run["error"] == "It was taken back."
    assert run["taken_back"] == run["inserted"]


async def test_a_fetched_file_that_is_taken_back_ends_and_the_next_one_comes_in(shop) -> None:
    folder = await folder_of(shop)
    put(folder, "a.csv", csv_file(30_000), 5000)
    put(folder, "b.csv", csv_file(10, 90_000), 4000)
    job_id = await shop.ask(SYNC)
    async with shop.working():
        await shop.until_done(job_id, 1)
    (run,) = await shop.imports()
    await taken_back(shop, run["import_id"])
    async with shop.working():
        result = await shop.result(job_id)
    assert result["files"] == 2
    runs = {one["source"]: one for one in await shop.imports() if one["taken_back_at"] is None}
    assert runs["b.csv"]["inserted"] == 10
    assert (folder / "done" / "b.csv").exists()


async def test_an_import_that_was_never_ended_can_be_taken_back(shop) -> None:
    """Whoever imported it was killed."""
    async with shop.db.tenant(shop.org_id) as tx:
        import_id = await store.start_import(tx, shop.org_id, "a.csv", "calls")
    assert await taken_back(shop, import_id) == TakenBack(import_id, 0, 0, 0)
    (run,) = await shop.imports()
    assert run["finished_at"] is not None


async def test_nobody_takes_back_what_is_anothers_or_not_there(shop) -> None:
    async with shop.working():
        mine = await imported(shop, call(callid="a"))
    other = await organisation(shop.db)
    for org_id, import_id in ((other, mine), (shop.org_id, uuid4())):
        with pytest.raises(NotFound):
            await take_back(shop.db, org_id, import_id)
        with pytest.raises(NotFound):
            await ask_to_take_back(shop.db, org_id, import_id)
    assert await callids(shop) == ["a"]


async def test_asking_twice_is_one_job(shop) -> None:
    async with shop.working():
        import_id = await imported(shop, call(callid="a"))
    first = await ask_to_take_back(shop.db, shop.org_id, import_id)
    assert await ask_to_take_back(shop.db, shop.org_id, import_id) == first
    async with shop.db.tenant(shop.org_id) as tx:
        await jobs.cancel(tx, first)
    again = await ask_to_take_back(shop.db, shop.org_id, import_id)
    async with shop.working():
        assert (await shop.result(again))["deleted"] == 1


async def test_over_http_search_forgets_it_too(sender: Sender) -> None:
    content = as_jsonl(calls(3, turns=TURNS))
    import_id = (await sender.imported(content, "application/x-ndjson"))["import_id"]
    query = {"q": "hello"}

    async def hits() -> int:
        answer = await sender.client.get(
            "/api/v1/calls/search", params=query, headers=sender.headers()
        )
        return len(answer.json()["data"]["hits"])

    async def found() -> bool:
        return await hits() == 3

    async def gone() -> bool:
        async with sender.db.system() as tx:
            waiting = await tx.fetchval("SELECT count(*) FROM outbox WHERE projection = 'search'")
        return waiting == 0 and await hits() == 0

    await eventually(found)
    path = f"/api/v1/imports/{import_id}"
    for _ in range(2):
        answer = await sender.client.delete(path, headers=sender.headers(Prefer="wait=60"))
        assert answer.status_code == 200
        assert answer.json()["data"] == {
            "import_id": import_id, "deleted": 3, "kept_changed": 0, "kept_updated": 0,
        }  # fmt: skip
    assert (
        await sender.client.get("/api/v1/calls/c-0", headers=sender.headers())
    ).status_code == 404
    await eventually(gone)
    (listed,) = (await sender.get("/api/v1/imports"))["imports"]
    assert listed["taken_back"] == 3
    assert listed["taken_back_at"] is not None


async def test_over_http_the_job_is_the_answer_and_strangers_get_none(sender: Sender) -> None:
    import_id = (await sender.imported(as_jsonl(calls(1)), "application/x-ndjson"))["import_id"]
    path = f"/api/v1/imports/{import_id}"
    assert (await sender.client.delete(path, headers=sender.headers("agent"))).status_code == 403
    for unknown in (uuid4(), "none"):
        answer = await sender.client.delete(f"/api/v1/imports/{unknown}", headers=sender.headers())
        assert answer.status_code == 404
    answer = await sender.client.delete(path, headers=sender.headers())
    assert answer.status_code == 202
    assert answer.json()["data"]["name"] == "take_back_import"
    assert answer.headers["location"].startswith("/api/v1/jobs/")

"""Answers that are kept: right after every committed refresh, and without Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from ai_services.portrait.answers import LARGEST, Answers
from ai_services.portrait.computing.computation import compute
from ai_services.portrait.dimension import CUSTOMER, DIMENSIONS, USER, Subject
from shared.data_access.cache.redis import RedisCache
from shared.data_access.relational.postgres import Postgres
from shared.errors import NotFound
from tests.ai_services.portrait.calls import Call, Organisation, at, new_organisation

U1 = Subject(USER, "u1")
HERS = Subject(CUSTOMER, "k1")
CALL = Call("c1", "u1", at("2024-12-04 09:30"), duration_ms=1500, customer_id="k1")


class Asked(BaseModel):
    what: str = "figures"


class Kept:
    """Answers of one process, and what became of its look-ups."""

    def __init__(self, db: Postgres, cache: RedisCache) -> None:
        self._registry = CollectorRegistry()
        self.answers = Answers(db, cache, self._registry)
        self.made = 0

    def count(self, outcome: str) -> float:
        value = self._registry.get_sample_value(
            "portrait_answers_cache_total", {"outcome": outcome}
        )
        assert value is not None
        return value

    async def ask(
        self, organisation: Organisation, subject: Subject | None = U1, what: str = "figures"
    ) -> bytes:
        async def make() -> bytes:
            self.made += 1
            return str(self.made).encode()

        asked = ("test", Asked(what=what))
        return await self.answers.bytes_of(organisation.org_id, subject, "week", asked, make)


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[RedisCache]:
    cache = RedisCache(redis_url)
    yield cache
    await cache.close()


@pytest.fixture
async def kept(db: Postgres, cache: RedisCache, organisation: Organisation) -> Kept:
    await organisation.write(CALL)
    await compute(db, organisation.org_id)
    return Kept(db, cache)


async def test_an_answer_is_made_once_and_found_by_all_processes(
    kept: Kept, db: Postgres, cache: RedisCache, organisation: Organisation
) -> None:
    assert await kept.ask(organisation) == await kept.ask(organisation) == b"1"
    another = Kept(db, cache)
    assert await another.ask(organisation) == b"1"
    assert (another.made, another.count("hit"), kept.count("miss")) == (0, 1, 1)
    assert await another.ask(organisation, what="trend") == b"1"
    assert another.made == 1


Change = Callable[[Organisation], Awaitable[Any]]


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.write(replace(CALL, callid="c2")),
        lambda one: one.write(replace(CALL, duration_ms=2000)),
        lambda one: one.delete("c1"),
    ],
    ids=["inserted", "corrected", "deleted"],
)
@pytest.mark.parametrize("subject", [U1, None], ids=["user", "organisation"])
async def test_no_answer_outlives_a_committed_refresh(
    kept: Kept, organisation: Organisation, subject: Subject | None, change: Change
) -> None:
    before = await kept.ask(organisation, subject)
    await change(organisation)
    await compute(organisation.db, organisation.org_id)
    assert await kept.ask(organisation, subject) != before


async def test_a_refresh_that_is_rolled_back_ends_nothing(
    kept: Kept, organisation: Organisation
) -> None:
    before = await kept.ask(organisation)
    with suppress(ZeroDivisionError):
        async with organisation.db.tenant(organisation.org_id) as tx:
            await tx.execute("UPDATE user_portrait_snapshot SET total_calls = 7")
            raise ZeroDivisionError
    assert await kept.ask(organisation) == before
    async with organisation.db.tenant(organisation.org_id) as tx:
        await tx.execute("UPDATE user_portrait_snapshot SET total_calls = 7")
        assert await kept.ask(organisation) == before, "not yet committed"
    assert await kept.ask(organisation) != before


async def test_an_answer_made_of_older_portraits_is_not_found_under_the_new_mark(
    kept: Kept, organisation: Organisation
) -> None:
    """One that was being made while a refresh was committed."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> bytes:
        begun.set()
        await go_on.wait()
        return b"old"

    asked = ("test", Asked())
    old = asyncio.create_task(kept.answers.bytes_of(organisation.org_id, U1, "week", asked, slow))
    await begun.wait()
    await organisation.write(replace(CALL, callid="c2"))
    await compute(organisation.db, organisation.org_id)
    assert await kept.ask(organisation) == b"1", "it waits for nobody's older answer"
    go_on.set()
    assert await old == b"old"
    assert await kept.ask(organisation) == b"1"


async def test_many_who_miss_at_once_have_it_made_once(
    kept: Kept, organisation: Organisation
) -> None:
    assert set(await asyncio.gather(*(kept.ask(organisation) for _ in range(20)))) == {b"1"}


async def test_who_was_erased_is_gone_though_an_answer_is_kept(
    kept: Kept, organisation: Organisation
) -> None:
    assert await kept.ask(organisation, HERS) == b"1"
    await organisation.delete("c1")
    with pytest.raises(NotFound):
        await kept.ask(organisation, HERS)


async def test_organisations_share_no_answers(
    kept: Kept, organisation: Organisation, db: Postgres
) -> None:
    other = await new_organisation(db)
    await other.write(CALL)
    await compute(db, other.org_id)
    assert await kept.ask(organisation) != await kept.ask(other)


async def test_without_redis_every_answer_is_made_and_right(
    db: Postgres, organisation: Organisation
) -> None:
    cache = RedisCache("redis://127.0.0.1:9/0")
    await organisation.write(CALL)
    await compute(db, organisation.org_id)
    kept = Kept(db, cache)
    assert [await kept.ask(organisation) for _ in range(3)] == [b"1", b"2", b"3"]
    assert kept.count("away") == 3
    await cache.close()


async def test_what_is_too_large_is_not_kept(kept: Kept, organisation: Organisation) -> None:
    async def large() -> bytes:
        return b"x" * (LARGEST + 1)

    asked = ("test", Asked())
    await kept.answers.bytes_of(organisation.org_id, U1, "week", asked, large)
    assert kept.count("skipped") == 1
    assert await kept.ask(organisation) == b"1"


async def test_what_no_mark_vouches_for_is_not_kept(kept: Kept, organisation: Organisation) -> None:
    stranger = Subject(USER, "nobody of a slot without portraits")
    async with organisation.db.tenant(organisation.org_id) as tx:
        await tx.execute("DELETE FROM portrait_mark")
    assert [await kept.ask(organisation, stranger) for _ in range(2)] == [b"1", b"2"]
    assert kept.count("unmarked") == 2


async def test_every_table_of_portraits_renews_marks(db: Postgres) -> None:
    tables = {whose.snapshots for whose in DIMENSIONS} | {"period_summary"}
    async with db.system() as tx:
        rows = await tx.fetch(
            "SELECT tgrelid::regclass::text AS name FROM pg_trigger "
            "WHERE tgfoid = 'renew_portrait_marks'::regproc"
        )
    names = [row["name"] for row in rows]
    assert {name: names.count(name) for name in tables} == dict.fromkeys(tables, 3)

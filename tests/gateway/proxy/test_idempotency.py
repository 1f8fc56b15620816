"""Requests that are sent again, at bad moments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from uuid import UUID

import orjson
import pytest
import redis
import redis.asyncio as aioredis
from prometheus_client import CollectorRegistry

from gateway.http.stored_answer import KEPT_BODY_LIMIT, StoredAnswer
from gateway.proxy.idempotency import (
    Answered,
    AnswerLost,
    Idempotency,
    Operation,
    fingerprint,
)
from shared.data_access.cache.redis import RedisCache
from shared.errors import (
    Conflict,
    StoreUnavailable,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.contract.proxy import proxied
from tests.gateway.wire import until

MADE = StoredAnswer(201, ((b"content-type", b"application/json"),), b'{"code":0,"name":"\xe5\xbc\xa0"}\x00\xff')  # fmt: skip
OPERATION = Operation(
    UUID(int=1), "user:a", "POST /api/v1/things", "k-1", fingerprint("POST", "/", "", b"{}"), 10.0
)


@dataclass
class Work:
    """What must be done once, and how it goes."""

    answer: StoredAnswer | Exception = MADE
    begun: int = 0
    done: int = 0
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_end.set()

    async def __call__(self) -> StoredAnswer:
        self.begun += 1
        self.has_begun.set()
        await self.may_end.wait()
        self.done += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class Gateway:
    idempotency: Idempotency
    registry: CollectorRegistry

    async def send(self, work: Work, operation: Operation = OPERATION) -> Answered:
        return await self.idempotency.once(operation, work)

    def counted(self, outcome: str) -> float:
        return self.registry.get_sample_value("idempotent_requests_total", {"outcome": outcome}) or 0  # fmt: skip


@asynccontextmanager
async def gateway_at(url: str, budget: float = 2.0, life: float = 60) -> AsyncIterator[Gateway]:
    cache, registry = RedisCache(url), CollectorRegistry()
    idempotency = Idempotency(cache, registry, budget=budget, life=life)
    yield Gateway(idempotency, registry)
    await idempotency.close()
    await cache.close()


@pytest.fixture
async def gateway(redis_url: str) -> AsyncIterator[Gateway]:
    async with gateway_at(redis_url) as opened:
        yield opened


async def test_the_second_request_gets_the_first_ones_answer(gateway: Gateway) -> None:
    work = Work()
    assert await gateway.send(work) == Answered(MADE, replayed=False)
    assert await gateway.send(work) == Answered(MADE, replayed=True)
    assert work.done == 1
    assert (gateway.counted("first"), gateway.counted("replayed")) == (1, 1)


async def test_another_gateway_knows_too(gateway: Gateway, redis_url: str) -> None:
    work = Work()
    await gateway.send(work)
    async with gateway_at(redis_url) as other:
        assert (await other.send(work)).replayed
    assert work.done == 1


async def test_a_key_belongs_to_one_caller(gateway: Gateway) -> None:
    work = Work()
    await gateway.send(work)
    for other in (
        replace(OPERATION, org_id=UUID(int=2)),
        replace(OPERATION, subject="user:b"),
        replace(OPERATION, key="k-2"),
        replace(OPERATION, subject="user:a\0k", key="-1"),
    ):
        assert not (await gateway.send(work, other)).replayed
    assert work.done == 5


async def test_a_key_is_good_for_one_route(gateway: Gateway) -> None:
    work = Work()
    work.may_end.clear()
    first = asyncio.create_task(gateway.send(work))
    await work.has_begun.wait()
    elsewhere = replace(
        OPERATION,
        route="POST /api/v1/others",
        fingerprint=fingerprint("POST", "/others", "", b"{}"),
    )
    with pytest.raises(Conflict, match="used for another request"):  # while the first is under way
        await gateway.send(work, elsewhere)
    work.may_end.set()
    await first
    with pytest.raises(Conflict, match="used for another request"):
        await gateway.send(work, elsewhere)
    assert (await gateway.send(work)).replayed
    assert work.begun == 1


async def test_what_was_kept_by_route_is_found_there(gateway: Gateway, redis_url: str) -> None:
    """Answers and claims from before a key was good for one route only."""
    client = aioredis.Redis.from_url(redis_url)
    line = orjson.dumps({"fingerprint": OPERATION.fingerprint, "state": "done"})
    old = orjson.dumps({"status": 201, "headers": [["content-type", "application/json"]]})
    await client.set(OPERATION.record_by_route, line + b"\n" + old + b"\n" + MADE.body)
    work = Work()
    again = await gateway.send(work)
    assert (again.replayed, again.answer) == (True, MADE)
    with pytest.raises(Conflict, match="used for another request"):
        await gateway.send(work, replace(OPERATION, fingerprint="another"))
    running = orjson.dumps({"fingerprint": OPERATION.fingerprint, "state": "running", "by": "x"})
    await client.set(OPERATION.record_by_route, running)
    with pytest.raises(Conflict, match="still being carried out"):
        await gateway.send(work)
    assert work.begun == 0
    await client.aclose()


async def test_the_same_key_for_something_else_is_a_conflict(gateway: Gateway) -> None:
    work = Work()
    await gateway.send(work)
    for method, target, content_type, body in (
        ("POST", "/", "", b"{ }"),
        ("POST", "/?x", "", b"{}"),
        ("POST", "/", "text/csv", b"{}"),
        ("PATCH", "/", "", b"{}"),
    ):
        other = replace(OPERATION, fingerprint=fingerprint(method, target, content_type, body))
        with pytest.raises(Conflict, match="used for another request"):
            await gateway.send(work, other)
    assert work.done == 1


async def test_the_same_key_meanwhile_is_a_conflict_that_says_when(gateway: Gateway) -> None:
    work = Work()
    work.may_end.clear()
    first = asyncio.create_task(gateway.send(work))
    await work.has_begun.wait()
    with pytest.raises(Conflict, match="still being carried out") as caught:
        await gateway.send(work)
    assert caught.value.headers() == {"Retry-After": "1"}
    work.may_end.set()
    assert not (await first).replayed
    assert (await gateway.send(work)).replayed
    assert work.begun == 1


async def test_of_many_at_once_one_is_carried_out(gateway: Gateway) -> None:
    work = Work()
    answers = await asyncio.gather(*(gateway.send(work) for _ in range(40)), return_exceptions=True)
    assert work.begun == 1
    assert all(isinstance(answer, Answered | Conflict) for answer in answers)


async def test_a_client_that_goes_away_gets_its_answer_when_it_comes_back(gateway: Gateway) -> None:
    work = Work()
    work.may_end.clear()
    first = asyncio.create_task(gateway.send(work))
    await work.has_begun.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.may_end.set()
    async with asyncio.timeout(5):
        while True:
            try:
                again = await gateway.send(work)
                break
            except Conflict:
                await asyncio.sleep(0.01)
    assert again == Answered(MADE, replayed=True)
    assert work.begun == 1


@pytest.mark.parametrize("required", [False, True])
async def test_a_claim_that_nobody_hears_of_is_given_back(redis_url: str, required: bool) -> None:
    """Its caller goes away, or must be told that nothing was carried out, while it is made."""
    operation = replace(OPERATION, required=required)
    async with proxied(redis_url) as (url, proxy), gateway_at(url, budget=0.5) as gateway:
        await gateway.send(Work(), replace(operation, key="k-0"))  # the connection is there
        work = Work()
        with redis.Redis.from_url(redis_url) as peer:
            sending = asyncio.create_task(gateway.send(work, operation))
            while not peer.exists(operation.record):  # noqa: ASYNC110 - its loop must not read the answer
                await asyncio.sleep(0)
        proxy.freeze()  # it is made, and the answer on its way
        if not required:
            sending.cancel()
        with pytest.raises(StoreUnavailable if required else asyncio.CancelledError):
            await sending
        proxy.thaw()
        assert work.begun == 0

        async def carried_out() -> bool:
            with suppress(Conflict, StoreUnavailable):
                return not (await gateway.send(work, operation)).replayed
            return False

        await until(carried_out, 3)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425, 429])
async def test_passing_failures_are_not_kept(gateway: Gateway, status: int) -> None:
    work = Work(StoredAnswer(status, (), b"no"))
    assert (await gateway.send(work)).answer.status == status
    work.answer = MADE
    assert await gateway.send(work) == Answered(MADE, replayed=False)


async def test_an_exchange_that_failed_is_not_kept(gateway: Gateway) -> None:
    work = Work(UpstreamUnavailable("away"))
    with pytest.raises(UpstreamUnavailable):
        await gateway.send(work)
    work.answer = MADE
    assert not (await gateway.send(work)).replayed


@pytest.mark.parametrize("status", [400, 404, 409, 422])
async def test_a_refusal_is_kept(gateway: Gateway, status: int) -> None:
    work = Work(StoredAnswer(status, (), b"{}"))
    await gateway.send(work)
    work.answer = MADE
    assert (await gateway.send(work)).answer.status == status


@pytest.mark.parametrize(
    "answer",
    [
        StoredAnswer(201, (), b"x" * (KEPT_BODY_LIMIT + 1)),
        StoredAnswer(201, ((b"cache-control", b"no-store"),), b'{"secret":"lk_1"}'),
    ],
)
async def test_an_answer_that_is_not_kept_is_still_not_earned_twice(
    gateway: Gateway, redis_url: str, answer: StoredAnswer
) -> None:
    work = Work(answer)
    assert (await gateway.send(work)).answer == answer
    with pytest.raises(Conflict, match="was carried out, but its answer was not kept"):
        await gateway.send(work)
    assert work.done == 1
    client = aioredis.Redis.from_url(redis_url)
    assert b"lk_1" not in (await client.get(OPERATION.record) or b"")
    await client.aclose()


async def test_work_whose_answer_was_lost_is_not_done_twice(gateway: Gateway) -> None:
    work = Work(AnswerLost("it broke off."))
    with pytest.raises(AnswerLost, match=r"was carried out, .* it broke off\. Look up"):
        await gateway.send(work)
    with pytest.raises(Conflict, match="was carried out, but its answer was not kept"):
        await gateway.send(work)
    assert work.done == 1


async def test_the_largest_answer_that_is_kept_comes_back_whole(gateway: Gateway) -> None:
    work = Work(StoredAnswer(200, (), bytes(range(256)) * (KEPT_BODY_LIMIT // 256)))
    await gateway.send(work)
    assert (await gateway.send(work)).answer == work.answer


async def test_work_that_takes_longer_than_its_claim_is_ended(gateway: Gateway) -> None:
    work = Work()
    work.may_end.clear()
    with pytest.raises(UpstreamTimeout):
        await gateway.send(work, replace(OPERATION, hold=0.05))
    work.may_end.set()
    assert not (await gateway.send(work)).replayed


async def test_answers_and_claims_expire(redis_url: str) -> None:
    client = aioredis.Redis.from_url(redis_url)
    async with gateway_at(redis_url, life=0.1) as gateway:
        work = Work()
        work.may_end.clear()
        first = asyncio.create_task(gateway.send(work))
        await work.has_begun.wait()
        assert 10_000 < await client.pttl(OPERATION.record) <= 15_000  # the claim: 10 s of work
        work.may_end.set()
        await first
        await asyncio.sleep(0.15)
        assert not (await gateway.send(work)).replayed
    await client.aclose()


async def test_a_stopped_gateway_leaves_its_claims(redis_url: str) -> None:
    """Nobody knows how far the work came: until the claim expires it is not begun again."""
    work = Work()
    work.may_end.clear()
    async with gateway_at(redis_url) as gateway:
        first = asyncio.create_task(gateway.send(work))
        await work.has_begun.wait()
    with pytest.raises(asyncio.CancelledError):
        await first
    async with gateway_at(redis_url) as gateway:
        with pytest.raises(Conflict, match="still being carried out"):
            await gateway.send(work)


async def test_without_redis_only_what_requires_protection_is_refused(redis_url: str) -> None:
    async with proxied(redis_url) as (url, proxy), gateway_at(url) as gateway:
        await proxy.cut()
        work = Work()
        assert await gateway.send(work) == Answered(MADE, replayed=False)
        assert gateway.counted("unprotected") == 1
        with pytest.raises(StoreUnavailable, match="nothing was carried out"):
            await gateway.send(work, replace(OPERATION, required=True))
        assert work.begun == 1
        await proxy.start()

        async def protected() -> bool:  # as soon as a probe has found Redis again
            return (await gateway.send(work)).replayed

        await until(protected, 10)


async def test_a_redis_that_goes_away_meanwhile_takes_nothing_from_the_client(
    redis_url: str,
) -> None:
    async with proxied(redis_url) as (url, proxy), gateway_at(url, budget=0.2) as gateway:
        work = Work()
        work.may_end.clear()
        first = asyncio.create_task(gateway.send(work))
        await work.has_begun.wait()
        proxy.freeze()
        work.may_end.set()
        assert (await first).answer == MADE
        proxy.thaw()

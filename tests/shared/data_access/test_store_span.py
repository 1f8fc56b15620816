"""The spans of calls to stores: what they tell, and that they cost nothing where nobody looks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from shared.data_access.cache.redis import RedisCache
from shared.data_access.relational.postgres import Postgres
from shared.data_access.store_span import store_span, summary
from shared.errors import StoreConflict
from shared.telemetry.spans import work
from tests.spans import ended_spans


@pytest.fixture
def ended() -> Iterator[list[ReadableSpan]]:
    with ended_spans() as listening:
        yield listening.spans


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("GET", ("GET", "")),
        ("SELECT 1", ("SELECT", "")),
        ("\nINSERT INTO outbox (org_id) SELECT $1 FROM unnest($2)", ("INSERT", "outbox")),
        ("UPDATE period SET status = $1", ("UPDATE", "period")),
        ("SELECT * FROM (SELECT id FROM call_record) AS near", ("SELECT", "call_record")),
        ("SELECT id FROM unnest($1::text[]) AS x(id) JOIN y ON true", ("SELECT", "")),
        ("WITH old AS (DELETE FROM outbox RETURNING id) SELECT id FROM old", ("DELETE", "outbox")),
        ("WITH c AS MATERIALIZED (SELECT 1) SELECT * FROM c", ("SELECT", "")),
        ("MATCH (n:`Customer` {org_id: $org}) RETURN n", ("MATCH", "Customer")),
    ],
)
def test_operation_and_table_are_taken_from_a_statement(what: str, told: tuple[str, str]) -> None:
    assert summary(what) == told


async def test_a_transaction_is_told_without_texts_and_values(
    database_url: str, ended: list[ReadableSpan]
) -> None:
    postgres = Postgres(database_url)
    async with postgres.system() as tx:
        await tx.execute("CREATE TEMP TABLE tested (name text PRIMARY KEY)")
    ended.clear()
    with work("test", {}) as root:
        async with postgres.system() as tx:
            await tx.execute("INSERT INTO tested (name) VALUES ($1)", "13912345678")
        with pytest.raises(StoreConflict):
            async with postgres.system() as tx:
                await tx.execute("INSERT INTO tested (name) VALUES ($1)", "13912345678")
    await postgres.close()

    spans = [one for one in ended if one.parent is not None]
    namespace = urlsplit(database_url).path[1:]
    assert [one.name for one in spans] == [
        *(f"BEGIN {namespace}", "INSERT tested", f"COMMIT {namespace}"),
        *(f"BEGIN {namespace}", "INSERT tested"),
    ]
    for one in spans:
        assert one.kind is SpanKind.CLIENT
        assert one.parent == root.get_span_context()
    assert spans[1].attributes == {
        "db.system.name": "postgresql",
        "db.namespace": namespace,
        "db.operation.name": "INSERT",
        "db.collection.name": "tested",
    }
    assert spans[1].status.status_code is StatusCode.UNSET
    failed = spans[-1]
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "asyncpg.exceptions.UniqueViolationError"
    assert failed.attributes["db.response.status_code"] == "23505"
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, None)
    assert failed.events == ()
    assert "13912345678" not in "".join(one.to_json() for one in spans)


async def test_a_call_that_nobody_waits_for_has_no_span(
    redis_url: str, ended: list[ReadableSpan]
) -> None:
    cache = RedisCache(redis_url)
    await cache.set("key", b"value", ttl=1)
    assert ended == []
    with work("test", {}):
        await cache.set("key", b"value", ttl=1)
    await cache.close()
    assert [one.name for one in ended] == ["SET redis", "test"]


def test_without_a_trace_a_span_costs_next_to_nothing() -> None:
    rounds = 20_000
    began = time.perf_counter()
    for _ in range(rounds):
        with store_span("redis", "", "GET", ""):
            pass
    assert (time.perf_counter() - began) / rounds < 10e-6  # about 0.5 µs on an idle machine

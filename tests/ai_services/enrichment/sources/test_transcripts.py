"""Where what was said is looked up, by one suite: tables beside the calls, MongoDB at TEST_MONGO_URL."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient

from ai_services.enrichment.sources.databases.database import Connection
from ai_services.enrichment.sources.databases.mysql import MySql
from ai_services.enrichment.sources.routing import Month, Shard
from ai_services.enrichment.sources.transcripts.lookup import TableTranscripts, Transcripts
from ai_services.enrichment.sources.transcripts.mongo import mongo_transcripts
from ai_services.enrichment.sources.transcripts.spoken import SpokenColumns
from shared.errors import InvalidInput, UpstreamUnavailable
from tests.ai_services.enrichment.sources.dialler import Dialler
from tests.ports import free_port

HOW = SpokenColumns(text="said", role="who", at_ms="ms", order="number")
SHARD = Shard(Month(2024, 12), "calls_2024_12", "said_2024_12")
Fill = Callable[[Sequence[Mapping[str, Any]]], Awaitable[None]]


@dataclass
class Place:
    transcripts: Transcripts
    connection: Connection
    fill: Fill

    async def of(self, *callids: str) -> dict[str, list[Any]]:
        found = await self.transcripts.of(self.connection, SHARD, callids)
        return {callid: json.loads(text) for callid, text in found.items()}


@pytest.fixture
async def table_place(source: Dialler) -> AsyncIterator[Place]:
    await source.run(
        "CREATE TABLE said_2024_12 (callid varchar(64), number int, who varchar(9), ms int, said text,"
        " KEY (callid))"
    )

    async def fill(rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            await source.run(
                "INSERT INTO said_2024_12 VALUES (%s, %s, %s, %s, %s)",
                *(row.get(name) for name in ("callid", "number", "who", "ms", "said")),
            )

    database = MySql("s", source.host, source.port, "root", source.name, "")
    async with database.connect() as connection:
        yield Place(TableTranscripts(HOW), connection, fill)


@pytest.fixture
async def mongo_place(source: Dialler) -> AsyncIterator[Place]:
    if "TEST_MONGO_URL" not in os.environ:
        pytest.skip("TEST_MONGO_URL is not set: mongodb://[user:password@]host:27017")
    server, name = os.environ["TEST_MONGO_URL"].rstrip("/"), f"looma_test_{uuid4().hex[:12]}"
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(AsyncMongoClient[Any](server))
        stack.push_async_callback(admin.drop_database, name)

        async def fill(rows: Sequence[Mapping[str, Any]]) -> None:
            await admin[name]["said"].insert_many([dict(row) for row in rows])

        opened = mongo_transcripts("s", f"{server}/{name}", None, "said", HOW, 10.0)
        transcripts = await stack.enter_async_context(opened)
        database = MySql("s", source.host, source.port, "root", source.name, "")
        yield Place(transcripts, await stack.enter_async_context(database.connect()), fill)


@pytest.fixture(params=["table", "mongo"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


async def test_turns_come_by_call_and_in_order(place: Place) -> None:
    await place.fill(
        [
            {"callid": "a", "number": 2, "who": "user", "ms": 900, "said": "好"},
            {"callid": "b", "number": 1, "who": "robot", "said": "您好"},
            {"callid": "a", "number": 1, "who": "robot", "ms": 0, "said": "您好"},
            {"callid": "c", "number": 1, "who": "robot", "said": ""},
        ]
    )
    assert await place.of("a", "b", "c", "nobody") == {
        "a": [
            {"role": "agent", "at_ms": 0, "text": "您好"},
            {"role": "customer", "at_ms": 900, "text": "好"},
        ],
        "b": [{"role": "agent", "at_ms": None, "text": "您好"}],
    }


async def test_no_calls_have_no_transcripts(place: Place) -> None:
    assert await place.of() == {}


async def test_more_calls_than_fit_in_a_query_are_found(place: Place) -> None:
    await place.fill(
        [{"callid": f"c{n}", "number": 1, "who": "user", "said": f"n{n}"} for n in (0, 999, 5999)]
    )
    assert set(await place.of(*(f"c{n}" for n in range(6000)))) == {"c0", "c999", "c5999"}


async def test_a_month_without_a_table_of_them_has_none(table_place: Place) -> None:
    shard = Shard(None, "calls")
    assert await table_place.transcripts.of(table_place.connection, shard, ["a"]) == {}


async def test_a_column_that_is_not_there_is_named(source: Dialler) -> None:
    await source.run("CREATE TABLE said_2024_12 (callid varchar(64), words text)")
    database = MySql("s", source.host, source.port, "root", source.name, "")
    transcripts = TableTranscripts(SpokenColumns(text="said"))
    async with database.connect() as connection:
        with pytest.raises(InvalidInput, match=r"said_2024_12.said.*there are callid, words"):
            await transcripts.of(connection, SHARD, ["a"])


@pytest.mark.slow
async def test_a_mongodb_that_is_not_there_is_away(source: Dialler) -> None:
    url = f"mongodb://127.0.0.1:{free_port()}/calls?serverSelectionTimeoutMS=300"
    database = MySql("s", source.host, source.port, "root", source.name, "")
    async with (
        mongo_transcripts("s", url, None, "said", HOW, 5.0) as transcripts,
        database.connect() as connection,
    ):
        with pytest.raises(UpstreamUnavailable, match="Source s: MongoDB is away"):
            await transcripts.of(connection, SHARD, ["a"])

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import orjson
import pytest

from tests.databases import SpareDatabases


@pytest.fixture(scope="package")
async def connection(spare_databases: SpareDatabases) -> AsyncIterator[asyncpg.Connection]:
    """A database with a table for the rows that are drawn."""
    async with spare_databases.fresh() as url:
        connected = await asyncpg.connect(url)
        await connected.set_type_codec(
            "jsonb",
            schema="pg_catalog",
            encoder=lambda value: orjson.dumps(value).decode(),
            decoder=orjson.loads,
        )
        await connected.execute(
            "CREATE TEMP TABLE drawn (id int GENERATED ALWAYS AS IDENTITY, i bigint, n bigint, x float8,"
            " usage_rate float8, t text, b boolean, events jsonb)"
        )
        yield connected
        await connected.close()

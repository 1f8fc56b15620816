"""What is logged of PostgreSQL's errors."""

from __future__ import annotations

import asyncpg
import pytest

from shared.data_access.relational.postgres import Postgres
from shared.data_access.relational.postgres_errors import describe
from shared.errors import StoreError


async def test_an_error_about_a_value_is_told_without_it(database_url: str) -> None:
    postgres = Postgres(database_url)
    with pytest.raises(StoreError) as caught:
        async with postgres.system() as tx:
            await tx.fetchval("SELECT $1::text::integer", "phone 13912345678")
    await postgres.close()
    cause = caught.value.__cause__
    assert isinstance(cause, asyncpg.PostgresError)
    assert "13912345678" in str(cause)
    assert describe(cause) == "22P02 InvalidTextRepresentationError"

"""The words of calls are those that the table of calls admits."""

from __future__ import annotations

import re

import asyncpg
import pytest

from shared.calls import (
    CALL_STATUSES,
    ENRICHED_COLUMNS,
    HANGUP_CUSTOMER,
    HANGUP_ROBOT,
    INTENTION_LEVELS,
    RISKS,
    SENTIMENTS,
)
from shared.data_access.relational.postgres import Postgres

_CHECKS = """
SELECT a.attname AS name, pg_get_constraintdef(c.oid) AS text FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
WHERE c.contype = 'c' AND c.conrelid = 'call_record_enriched'::regclass
"""


@pytest.fixture
async def migrated(database_url: str) -> str:
    db = Postgres(database_url)
    await db.ping()
    await db.close()
    return database_url


async def test_the_table_admits_these_words_and_no_others(migrated: str) -> None:
    connection = await asyncpg.connect(migrated)
    checks = {row["name"]: row["text"] for row in await connection.fetch(_CHECKS)}
    columns = {
        row["attname"]
        for row in await connection.fetch(
            "SELECT attname FROM pg_attribute "
            "WHERE attrelid = 'call_record_enriched'::regclass AND attnum > 0"
        )
    }
    await connection.close()
    for column, words in (
        ("call_status", CALL_STATUSES),
        ("level_name", INTENTION_LEVELS),
        ("sentiment", SENTIMENTS),
        ("complaint_risk", RISKS),
        ("churn_risk", RISKS),
    ):
        assert set(re.findall(r"'(\w+)'", checks[column])) == set(words)
    assert {int(one) for one in re.findall(r"\b\d\b", checks["hangup_by"])} == {
        HANGUP_ROBOT, HANGUP_CUSTOMER,
    }  # fmt: skip
    assert set(ENRICHED_COLUMNS) <= columns

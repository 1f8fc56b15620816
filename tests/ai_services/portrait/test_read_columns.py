"""Portraits are counted from what the enrichment service lets others read of a call."""

from __future__ import annotations

import asyncpg

from ai_services.portrait.computing.computation import compute
from ai_services.portrait.customers.customers import facts
from shared.calls import ENRICHED_COLUMNS, INSIGHT_COLUMNS
from tests.ai_services.portrait.calls import Call, at, new_organisation, opened

CALLS = (
    Call("c1", "u1", at("2024-05-06 10:00"), duration_ms=60_000, rounds=4, level_name="A",
         hangup_by=1, sentiment="negative", sentiment_score=0.2, complaint_risk="high",
         churn_risk="low", customer_id="k1"),
    Call("c2", "u2", at("2024-05-07 10:00"), "busy"),
)  # fmt: skip


async def test_portraits_need_no_other_columns(database_url: str) -> None:
    async with opened(database_url) as db:
        organisation = await new_organisation(db)
        await organisation.write(*CALLS)
        connection = await asyncpg.connect(database_url)
        for table, read in (
            ("call_record_enriched", ENRICHED_COLUMNS), ("call_insight", INSIGHT_COLUMNS),
        ):  # fmt: skip
            rows = await connection.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0",
                table,
            )
            for column in {row["attname"] for row in rows} - set(read):
                await connection.execute(f"ALTER TABLE {table} DROP {column} CASCADE")
        await connection.close()
        await compute(db, organisation.org_id)
        stored = await organisation.stored()
        page = await facts(db, organisation.org_id, "k1")
    assert stored["month", "2024-05", "u1"]["high_complaint_risk"] == 1
    assert stored["month", "2024-05", "u2"]["fail_reason_dist"] == {"busy": 1}
    assert [call.callid for call in page.calls] == ["c1"]

"""DuckDB doing what a recomputation of a month does: the same sums by the same subjects and days, stored."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
import duckdb

_COLUMNS: Final = (
    "user_id", "customer_id", "task_id", "agent_id", "call_date", "started_at", "duration_ms", "rounds",
    "level_name", "hangup_by", "call_status", "sentiment", "sentiment_score", "complaint_risk",
    "churn_risk",
)  # fmt: skip
_OK: Final = "call_status = 'connected'"
_SUMS: Final = ", ".join(
    [
        "count(*) AS total_calls",
        f"count(*) FILTER ({_OK}) AS connected_calls",
        f"sum(duration_ms) FILTER ({_OK}) / 1000 AS total_duration",
        f"sum(rounds) FILTER ({_OK}) AS total_rounds",
        f"sum(sentiment_score) FILTER ({_OK}) AS sentiment_score_sum",
        *(
            f"count(*) FILTER ({_OK} AND level_name = '{level}') AS level_{level}"
            for level in "ABCDEF"
        ),
        *(f"count(*) FILTER ({_OK} AND hangup_by = {by}) AS hangup_{by}" for by in (1, 2)),
        *(
            f"count(*) FILTER (call_status = '{reason}') AS {reason}"
            for reason in ("busy", "no_answer", "power_off", "invalid_number", "rejected", "failed")
        ),
        *(
            f"count(*) FILTER ({_OK} AND sentiment = '{mood}') AS {mood}"
            for mood in ("positive", "neutral", "negative")
        ),
        *(
            f"count(*) FILTER ({_OK} AND {risk} = '{level}') AS {risk}_{level}"
            for risk in ("complaint_risk", "churn_risk")
            for level in ("low", "medium", "high")
        ),
        f"count(sentiment_score) FILTER ({_OK}) AS scored_calls",
        f"count(*) FILTER ({_OK}) / count(*) AS connect_rate",
        f"avg(duration_ms) FILTER ({_OK}) / 1000 AS avg_duration",
        f"avg(rounds) FILTER ({_OK}) AS avg_rounds",
        f"avg(sentiment_score) FILTER ({_OK}) AS avg_sentiment_score",
    ]
)
# What is kept by day: hours, and durations in buckets of the same relative width as ours.
_BY_DAY: Final = ("user_id", "task_id", "agent_id", "''")
_OF_DAYS: Final = (
    ("hours", "hour(started_at)", f"count(*) AS calls, count(*) FILTER ({_OK}) AS connected"),
    (
        "durations",
        f"CASE WHEN {_OK} THEN floor(ln(duration_ms + 1) * 64) END",
        "count(*) AS calls",
    ),
)
_SUBJECTS: Final = ("user_id", "customer_id", "task_id", "agent_id")


async def exported(
    connection: asyncpg.Connection, org_id: UUID, first: date, last: date, folder: Path
) -> Path:
    """The calls of the month as Parquet."""
    rows, parquet = folder / "month.csv", folder / "month.parquet"
    with rows.open("wb") as file:
        await connection.copy_from_query(
            f"SELECT {', '.join(_COLUMNS)} FROM call_record_enriched"
            " WHERE org_id = $1 AND call_date BETWEEN $2 AND $3",
            org_id, first, last, output=file, format="csv", header=True, timeout=600,
        )  # fmt: skip
    with duckdb.connect() as duck:
        duck.execute(f"COPY (FROM read_csv('{rows}')) TO '{parquet}' (FORMAT parquet)")
    return parquet


def month(parquet: Path, folder: Path) -> float:
    """Seconds for all subjects and the organisation, into a file."""
    with duckdb.connect(str(folder / "month.duckdb"), config={"threads": 2}) as duck:
        began = time.perf_counter()
        for column in _SUBJECTS:
            duck.execute(
                f"CREATE TABLE by_{column} AS SELECT {column}, {_SUMS} FROM '{parquet}' GROUP BY {column}"
            )
        duck.execute(f"CREATE TABLE whole AS SELECT {_SUMS} FROM '{parquet}'")
        for column in _BY_DAY:
            for name, key, counts in _OF_DAYS:
                duck.execute(
                    f"CREATE TABLE {name}_of_{column.strip(chr(39)) or 'whole'} AS SELECT {column} AS subject,"
                    f" call_date, {key} AS place, {counts} FROM '{parquet}' GROUP BY ALL"
                )
        duck.execute("CHECKPOINT")
        return time.perf_counter() - began

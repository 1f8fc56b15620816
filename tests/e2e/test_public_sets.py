"""Portraits of two public sets, counted as their calls came in, against DuckDB over the raw files.

DuckDB reads the files that their publishers made; it shares neither the presets' code nor a statement with the
platform, only the rules that the presets state (reading/presets/*.toml).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from tests.e2e.platform import Platform, until

_PERIODS: Final = """
    ('week', strftime(day, '%G-W%V')), ('month', strftime(day, '%Y-%m')),
    ('quarter', year(day) || '-Q' || quarter(day))
"""
_STAR: Final = """
WITH calls AS (
    SELECT agent AS user_id, "user" AS customer_id,
           CAST(timezone('Asia/Shanghai', to_timestamp(start_unix)) AS DATE) AS day, duration_s AS seconds,
           list_filter(turns, lambda turn: turn.role IN ('customer', 'agent')) AS spoken
    FROM read_json('{file}', format = 'newline_delimited')
    WHERE start_unix IS NOT NULL AND duration_s IS NOT NULL
)
SELECT CAST({subject} AS VARCHAR) AS subject, kind, key, count(*) AS total_calls,
       count(*) FILTER (len(spoken) > 0) AS connected_calls,
       coalesce(sum(seconds) FILTER (len(spoken) > 0), 0) AS total_duration,
       coalesce(sum(len(list_filter(spoken, lambda turn: turn.role = 'customer'))), 0) AS total_rounds,
       count(*) FILTER (len(spoken) > 0 AND spoken[-1].role = 'agent') AS robot_hangup_count,
       count(*) FILTER (len(spoken) > 0 AND spoken[-1].role = 'customer') AS user_hangup_count
FROM calls, LATERAL (VALUES {periods}) AS of (kind, key)
WHERE {subject} IS NOT NULL GROUP BY 1, 2, 3
"""
# The exact day of a call is derived row by row; its month and quarter follow from the months alone.
_BANK: Final = """
WITH numbered AS (
    SELECT *, list_position(['jan','feb','mar','apr','may','jun','jul','aug','sep','oct','nov','dec'], month)
              AS number
    FROM read_csv('{file}', all_varchar = true)
), dated AS (
    SELECT *, number < lag(number) OVER (ORDER BY CAST(row_id AS INTEGER)) AS turns FROM numbered
), calls AS (
    SELECT 'bank-' || contact AS user_id, CAST(duration AS INTEGER) AS seconds, y,
           make_date(2008 + CAST(sum(coalesce(turns, false)::INTEGER) OVER (
               ORDER BY CAST(row_id AS INTEGER)) AS INTEGER), number, 15) AS day
    FROM dated
)
SELECT user_id AS subject, kind, key, count(*) AS total_calls,
       count(*) FILTER (seconds > 0) AS connected_calls, sum(seconds) AS total_duration,
       count(*) FILTER (seconds > 0 AND y = 'yes') AS level_a_count,
       count(*) FILTER (seconds > 0 AND y = 'no') AS level_f_count
FROM calls, LATERAL (VALUES {periods}) AS of (kind, key)
WHERE kind <> 'week' GROUP BY 1, 2, 3
"""


def recomputed(
    query: str, file: Path, subject: str = "user_id"
) -> dict[tuple[str, ...], dict[str, int]]:
    """(period type, key, subject) → what the raw file says."""
    with duckdb.connect() as duck:
        found = duck.execute(query.format(file=file, subject=subject, periods=_PERIODS))
        columns = [one[0] for one in found.description or ()]
        rows = [dict(zip(columns, row, strict=True)) for row in found.fetchall()]
    return {
        (row.pop("kind"), row.pop("key"), row.pop("subject")): {k: int(v) for k, v in row.items()}
        for row in rows
    }


def wrong(
    platform: Platform, token: str, path: str, wanted: dict[tuple[str, ...], dict[str, int]]
) -> list[Any]:
    """What the gateway answers otherwise, the first ten."""
    told = []
    with platform.client(token) as client:
        for (kind, key, subject), figures in wanted.items():
            answer = client.get(
                path.format(subject), params={"period_type": kind, "period_key": key}
            )
            assert answer.status_code == 200, (kind, key, subject, answer.text)
            portrait = answer.json()["data"]
            flat = {
                **portrait["call_stats"],
                "robot_hangup_count": portrait["hangup_dist"]["robot"],
                "user_hangup_count": portrait["hangup_dist"]["user"],
                "level_a_count": portrait["intention_dist"]["A"],
                "level_f_count": portrait["intention_dist"]["F"],
            }
            found = {name: round(float(flat[name])) for name in figures}
            if found != figures:
                told.append(((kind, key, subject), figures, found))
    return told[:10]


@pytest.mark.slow
def test_they_are_what_duckdb_says_of_the_raw_files(platform: Platform, shared_data: Path) -> None:
    star, bank = platform.cwd / "star.jsonl.gz", platform.cwd / "bank.csv.gz"
    shutil.copyfile(shared_data / "star_dialogues" / "star.jsonl.gz", star)
    shutil.copyfile(shared_data / "bank_marketing" / "bank_additional_full.csv.gz", bank)
    platform.up()
    token = platform("token", "--role", "admin").strip()
    platform.run("import", str(star), "--preset", "star")  # rejects rows, and says so by its status
    platform("import", str(bank), "--preset", "bank_marketing")
    # Without any computation: they follow.
    assert until(lambda: platform.run("portrait", "verify", "--json").returncode == 0, 60)
    users = recomputed(_STAR, star)
    assert len(users) > 400
    assert wrong(platform, token, "/api/v1/portrait/{}", users) == []
    customers = recomputed(_STAR, star, "customer_id")
    some = dict(sorted(customers.items())[::7])
    assert wrong(platform, token, "/api/v1/portrait/customers/{}", some) == []
    accounts = recomputed(_BANK, bank)
    assert {subject for _, _, subject in accounts} == {"bank-cellular", "bank-telephone"}
    assert wrong(platform, token, "/api/v1/portrait/{}", accounts) == []

"""Generated calls for the portrait benchmark, made inside PostgreSQL: a year of one company.

Accounts take calls by Zipf's law, customers evenly, as dialling lists do; figures of a call follow from its
number alone, so that a run can be repeated. `whole` writes without the triggers of the change log, as
though all of it had been counted before; `day` writes as an import does.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final
from uuid import UUID

import asyncpg

USERS: Final = 100
TASKS: Final = 400
AGENTS: Final = 200
FIRST: Final = date(2025, 1, 1)
DAYS: Final = 364  # the last day of the year is the new one
NEW_DAY: Final = FIRST + timedelta(days=DAYS)

_INSERT: Final = """
INSERT INTO call_record_enriched (
    org_id, callid, task_id, user_id, customer_id, agent_id, call_date, started_at, duration_ms,
    bill_ms, rounds, level_name, hangup_by, call_status, sentiment, sentiment_score,
    complaint_risk, churn_risk, analyzer, llm_analyzed_at)
SELECT $1::uuid, 'p-' || n, 'task-' || (h / 7) % {tasks}, 'user-' || floor({users} * power(u, 2))::int,
       'customer-' || (h % $5), 'agent-' || (h / 11) % {agents}, day, day + interval '9 hours'
           + make_interval(secs => (h / 13) % 36000) - interval '8 hours',
       CASE WHEN ok THEN (h / 17) % 300000 ELSE 0 END, 0, CASE WHEN ok THEN (h / 19) % 9 ELSE 0 END,
       CASE WHEN ok THEN chr((65 + (h / 23) % 6)::int) END, CASE WHEN ok THEN (1 + (h / 29) % 2)::smallint END,
       CASE WHEN ok THEN 'connected'
            ELSE (ARRAY['busy', 'no_answer', 'power_off', 'failed'])[1 + (h / 31) % 4] END,
       CASE WHEN ok THEN (ARRAY['positive', 'neutral', 'negative'])[1 + (h / 37) % 3] END,
       CASE WHEN ok THEN ((h / 41) % 1000) / 1000.0 END,
       CASE WHEN ok THEN (ARRAY['low', 'medium', 'high'])[1 + (h / 43) % 3] END,
       CASE WHEN ok THEN (ARRAY['low', 'medium', 'high'])[1 + (h / 47) % 3] END,
       CASE WHEN ok THEN 'local' END, CASE WHEN ok THEN now() END
FROM (SELECT n, h, (h % 1000003) / 1000003.0 AS u, (h / 5) % 10 < 6 AS ok,
             $4::date + ((n * $6) / $7)::int AS day
      FROM (SELECT n, (hashint8extended(n, 42) & 4611686018427387903) AS h
            FROM generate_series($2::bigint, $3::bigint) AS n) AS numbered) AS made
"""
_TEXT: Final = _INSERT.format(tasks=TASKS, users=USERS, agents=AGENTS)
_BARE: Final = _TEXT.replace("'task-' || (h / 7)", "NULL::text || (h / 7)").replace(
    "'agent-' || (h / 11)", "NULL::text || (h / 11)"
)


async def whole(
    connection: asyncpg.Connection, org_id: UUID, first: int, last: int, total: int, customers: int
) -> None:
    """Calls number `first` to `last` of `total`, spread over the year in the order of their numbers."""
    async with connection.transaction():
        await connection.execute("ALTER TABLE call_record_enriched DISABLE TRIGGER USER")
        await connection.execute(
            _TEXT, org_id, first, last, FIRST, customers, DAYS, total + 1, timeout=600
        )
        await connection.execute("ALTER TABLE call_record_enriched ENABLE TRIGGER USER")


async def day(
    connection: asyncpg.Connection,
    org_id: UUID,
    first: int,
    calls: int,
    customers: int,
    *,
    bare: bool = False,
) -> None:
    """New calls, all of the year's last day, from number `first` on; `bare`: without task and agent."""
    last = first + calls - 1
    text = _BARE if bare else _TEXT
    await connection.execute(text, org_id, first, last, NEW_DAY, customers, 0, 1)

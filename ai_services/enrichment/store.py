"""The queries of the enrichment service about calls; those about imports are in imports/.

Calls come in through one statement per batch: COPY into a staging table, then one merge that
inserts, updates what differs and leaves the rest alone. A transcript that is not sent again
is kept; one that changed loses the analysis of the old one, but not what people decided of it.

Why it is `(SELECT $1::uuid)` where calls are looked for by their keys: analysis/store.py.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from ai_services.enrichment.analysis.chain import store as insights
from ai_services.enrichment.analysis.corrections.keeping import keep_corrections
from ai_services.enrichment.customers import arriving
from ai_services.enrichment.customers.digests import Digests
from shared.data_access.ports import Row, Transaction

STAGING_COLUMNS = (
    "callid", "task_id", "agent_id", "user_id", "customer_id", "started_at", "duration_ms",
    "bill_ms", "rounds", "level_name", "hangup_by", "call_status", "phone_cipher", "phone_masked", "turns",
)  # fmt: skip

_CREATE_STAGING = """
CREATE TEMPORARY TABLE call_staging (
    callid text COLLATE "C", task_id text, agent_id text, user_id text, customer_id text,
    started_at timestamptz, duration_ms integer, bill_ms integer, rounds integer, level_name text, hangup_by smallint,
    call_status text, phone_cipher bytea, phone_masked text, turns jsonb,
    given_customer_id text COLLATE "C"
) ON COMMIT DROP
"""

# Rows go in by callid: two imports that overlap then lock them in the same order.
_MERGE_CALLS = """
WITH merged AS (
    INSERT INTO call_record_enriched AS c (
        org_id, callid, task_id, agent_id, user_id, customer_id, given_customer_id, call_date,
        started_at, duration_ms, bill_ms, rounds, level_name, hangup_by, call_status, phone_cipher,
        phone_masked, has_transcript, import_id)
    SELECT $1, callid, task_id, agent_id, user_id, customer_id, given_customer_id,
           (started_at AT TIME ZONE $2)::date, started_at, duration_ms, bill_ms, rounds,
           level_name, hangup_by, call_status, phone_cipher, phone_masked, turns IS NOT NULL, $3
    FROM call_staging ORDER BY callid
    ON CONFLICT (org_id, callid) DO UPDATE SET
        task_id = EXCLUDED.task_id, agent_id = EXCLUDED.agent_id, user_id = EXCLUDED.user_id,
        customer_id = EXCLUDED.customer_id, given_customer_id = EXCLUDED.given_customer_id,
        call_date = EXCLUDED.call_date, started_at = EXCLUDED.started_at,
        duration_ms = EXCLUDED.duration_ms, bill_ms = EXCLUDED.bill_ms, rounds = EXCLUDED.rounds,
        level_name = EXCLUDED.level_name, hangup_by = EXCLUDED.hangup_by,
        call_status = EXCLUDED.call_status, phone_cipher = EXCLUDED.phone_cipher,
        phone_masked = EXCLUDED.phone_masked,
        has_transcript = c.has_transcript OR EXCLUDED.has_transcript, updated_at = now(),
        import_id = CASE WHEN c.import_id = EXCLUDED.import_id THEN c.import_id END,
        moved_from = CASE WHEN (c.user_id, c.customer_id, c.call_date)
                               IS DISTINCT FROM
                               (EXCLUDED.user_id, EXCLUDED.customer_id, EXCLUDED.call_date)
                          THEN ARRAY[c.user_id, c.customer_id, to_char(c.call_date, 'YYYY-MM-DD')]
                     END
    WHERE (c.task_id, c.agent_id, c.user_id, c.customer_id, c.given_customer_id, c.call_date, c.started_at, c.duration_ms,
           c.bill_ms, c.rounds, c.level_name, c.hangup_by, c.call_status, c.phone_cipher,
           c.has_transcript)
        IS DISTINCT FROM
          (EXCLUDED.task_id, EXCLUDED.agent_id, EXCLUDED.user_id, EXCLUDED.customer_id,
           EXCLUDED.given_customer_id, EXCLUDED.call_date, EXCLUDED.started_at, EXCLUDED.duration_ms, EXCLUDED.bill_ms, EXCLUDED.rounds,
           EXCLUDED.level_name, EXCLUDED.hangup_by, EXCLUDED.call_status, EXCLUDED.phone_cipher,
           c.has_transcript OR EXCLUDED.has_transcript)
    RETURNING callid, (xmax = 0) AS inserted, moved_from,
        moved_from IS NOT NULL
            AND (moved_from[1], moved_from[2]) IS DISTINCT FROM (user_id, customer_id) AS left_pair,
        moved_from IS NOT NULL
            AND (moved_from[1], moved_from[3]::date) IS DISTINCT FROM (user_id, call_date)
            AS left_day
)
SELECT callid, inserted, moved_from, left_pair, left_day FROM merged
"""

_MERGE_TRANSCRIPTS = """
INSERT INTO call_transcript AS t (org_id, callid, turns)
SELECT $1, callid, turns FROM call_staging WHERE turns IS NOT NULL ORDER BY callid
ON CONFLICT (org_id, callid) DO UPDATE SET turns = EXCLUDED.turns, updated_at = now()
WHERE t.turns IS DISTINCT FROM EXCLUDED.turns
RETURNING callid, (xmax = 0) AS inserted
"""

# Of calls whose transcript has changed.
_FORGET_ANALYSIS = """
UPDATE call_record_enriched
SET import_id = CASE WHEN import_id = $3 THEN import_id END, sentiment = NULL, sentiment_score = NULL, complaint_risk = NULL, churn_risk = NULL,
    reason = NULL, analyzer = NULL, llm_analyzed_at = NULL, degraded = false, updated_at = now()
WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])
  AND (llm_analyzed_at IS NOT NULL OR import_id IS DISTINCT FROM $3)
"""


@dataclass(frozen=True, slots=True)
class Merged:
    """What one batch changed: callids that are new, callids that differ from before.

    `left` holds the (user_id, customer_id) pairs and `left_days` the (user_id, local date) pairs
    that calls belonged to until this batch; `erased` are those that stay out. `spread` are calls whose
    legs lie further apart than any call lasts.
    """

    inserted: frozenset[str] = frozenset()
    updated: frozenset[str] = frozenset()
    left: frozenset[tuple[str, str]] = frozenset()
    left_days: frozenset[tuple[str, str]] = frozenset()
    erased: frozenset[str] = frozenset()
    spread: frozenset[str] = frozenset()

    def __or__(self, other: Merged) -> Merged:
        """What two parts of a batch, of different calls, changed together."""
        return Merged(
            self.inserted | other.inserted,
            self.updated | other.updated,
            self.left | other.left,
            self.left_days | other.left_days,
            self.erased | other.erased,
            self.spread | other.spread,
        )

    @property
    def callids(self) -> list[str]:
        """Every call that is new or differs."""
        return [*self.inserted, *self.updated]

    def status(self, callid: str) -> Literal["inserted", "updated", "unchanged", "erased"]:
        if callid in self.inserted:
            return "inserted"
        if callid in self.erased:
            return "erased"
        return "updated" if callid in self.updated else "unchanged"


async def merge_calls(
    tx: Transaction,
    org_id: UUID,
    timezone: str,
    rows_csv: bytes,
    digests: Digests,
    *,
    transcripts: bool,
    import_id: UUID | None = None,
) -> Merged:
    """Bring a batch in. `rows_csv` holds STAGING_COLUMNS with each callid once.

    Calls of customers who were merged land with whom they are one; what was erased stays out.
    `transcripts` says whether any row has turns: a batch without skips their merge. New calls are of
    the import `import_id`; those that are changed are nobody's, unless they were of the same.
    """
    await tx.execute(_CREATE_STAGING)
    await tx.copy_csv("call_staging", STAGING_COLUMNS, rows_csv)
    erased = await arriving.settle(tx, org_id, digests)
    rows = await tx.fetch(_MERGE_CALLS, org_id, timezone, import_id)
    inserted = frozenset(row["callid"] for row in rows if row["inserted"])
    updated = {row["callid"] for row in rows if not row["inserted"]}
    left = frozenset(
        (row["moved_from"][0], row["moved_from"][1])
        for row in rows
        if row["left_pair"] and row["moved_from"][1] is not None
    )
    left_days = frozenset(
        (row["moved_from"][0], row["moved_from"][2]) for row in rows if row["left_day"]
    )
    if transcripts:
        turns = await tx.fetch(_MERGE_TRANSCRIPTS, org_id)
        replaced = [row["callid"] for row in turns if not row["inserted"]]
        if replaced:
            await tx.execute(_FORGET_ANALYSIS, org_id, replaced, import_id)
            await insights.forget(tx, org_id, replaced)
            await keep_corrections(tx, org_id, replaced)
        updated.update(row["callid"] for row in turns if row["callid"] not in inserted)
    await tx.execute("DROP TABLE call_staging")
    return Merged(inserted, frozenset(updated), left, left_days, erased)


async def organisation_timezone(tx: Transaction, org_id: UUID) -> str | None:
    """The IANA zone in which the organisation's dates are local; None for an unknown one."""
    zone: str | None = await tx.fetchval(
        "SELECT timezone FROM organisation WHERE org_id = $1", org_id
    )
    return zone


async def organisation_slug(tx: Transaction, org_id: UUID) -> str | None:
    """The organisation's short name; None for an unknown one."""
    slug: str | None = await tx.fetchval("SELECT slug FROM organisation WHERE org_id = $1", org_id)
    return slug


# Reading.

_COLUMNS = """callid, task_id, agent_id, user_id, customer_id, started_at, duration_ms, bill_ms,
    rounds, level_name, hangup_by, call_status, phone_masked, has_transcript, sentiment, sentiment_score,
    complaint_risk, churn_risk, reason, analyzer, llm_analyzed_at, corrected"""

_ONE_CALL = f"""
    SELECT {_COLUMNS} FROM call_record_enriched
    WHERE org_id = (SELECT $1::uuid) AND callid = $2"""  # noqa: S608 - a constant
_CALLS_BY_ID = f"""
    SELECT {_COLUMNS} FROM call_record_enriched
    WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])"""  # noqa: S608 - a constant
_CALLS_OF_USER = f"""
    SELECT {_COLUMNS} FROM call_record_enriched
    WHERE org_id = (SELECT $1::uuid) AND user_id = $2 AND started_at >= $3 AND started_at < $4
      AND (started_at, callid) < ($5, $6)
    ORDER BY started_at DESC, callid DESC LIMIT $7"""  # noqa: S608 - a constant


async def call(tx: Transaction, org_id: UUID, callid: str) -> Row | None:
    return await tx.fetchrow(_ONE_CALL, org_id, callid)


async def calls_by_id(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> dict[str, Row]:
    rows = await tx.fetch(_CALLS_BY_ID, org_id, list(callids))
    return {row["callid"]: row for row in rows}


async def transcript(tx: Transaction, org_id: UUID, callid: str) -> list[dict[str, Any]] | None:
    turns: list[dict[str, Any]] | None = await tx.fetchval(
        "SELECT turns FROM call_transcript WHERE org_id = $1 AND callid = $2", org_id, callid
    )
    return turns


async def calls_of_user(
    tx: Transaction,
    org_id: UUID,
    user_id: str,
    *,
    since: dt.datetime,
    until: dt.datetime,
    before: tuple[dt.datetime, str],
    limit: int,
) -> list[Row]:
    """Newest first, those before the cursor (started_at, callid)."""
    return await tx.fetch(_CALLS_OF_USER, org_id, user_id, since, until, *before, limit)


# For the projections.


async def documents(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> list[Row]:
    """(callid, user_id, customer_id, started_at, turns) of those that have a transcript."""
    return await tx.fetch(
        """SELECT c.callid, c.user_id, c.customer_id, c.started_at, t.turns
           FROM unnest($2::text[]) AS wanted (callid), LATERAL (
               SELECT callid, user_id, customer_id, started_at FROM call_record_enriched
               WHERE org_id = (SELECT $1::uuid) AND callid = wanted.callid OFFSET 0) c, LATERAL (
               SELECT turns FROM call_transcript
               WHERE org_id = (SELECT $1::uuid) AND callid = wanted.callid OFFSET 0) t""",
        org_id, list(callids),
    )  # fmt: skip


async def callids_after(tx: Transaction, org_id: UUID, after: str, limit: int) -> list[str]:
    """The next callids in order, for walking over all calls."""
    rows = await tx.fetch(
        """SELECT callid FROM call_record_enriched
           WHERE org_id = (SELECT $1::uuid) AND callid > $2 ORDER BY callid LIMIT $3""",
        org_id, after, limit,
    )  # fmt: skip
    return [row["callid"] for row in rows]


async def totals(tx: Transaction, org_id: UUID) -> Row:
    """Calls, transcripts, how many of these are analysed, users, and the first and last day."""
    row = await tx.fetchrow(
        """SELECT count(*) AS calls,
                  count(*) FILTER (WHERE has_transcript) AS transcripts,
                  count(*) FILTER (WHERE has_transcript AND llm_analyzed_at IS NOT NULL)
                      AS analysed,
                  count(DISTINCT user_id) AS users,
                  min(call_date)::text AS first, max(call_date)::text AS last
           FROM call_record_enriched WHERE org_id = $1""",
        org_id,
    )
    assert row is not None, "an aggregate without GROUP BY returns a row"
    return row


async def last_change(tx: Transaction, org_id: UUID) -> dt.datetime | None:
    """When a call was last written; None without calls."""
    changed: dt.datetime | None = await tx.fetchval(
        "SELECT max(updated_at) FROM call_record_enriched WHERE org_id = $1", org_id
    )
    return changed


async def count_calls(tx: Transaction, org_id: UUID) -> int:
    count: int = await tx.fetchval(
        "SELECT count(*) FROM call_record_enriched WHERE org_id = $1", org_id
    )
    return count


async def contacts(
    tx: Transaction, org_id: UUID, callids: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> list[Row]:
    """What there is between the (user, customer) pairs of these calls, and of `pairs`, per pair.

    A pair without calls has `calls` 0.
    """
    return await tx.fetch(
        """WITH pairs AS (
               SELECT user_id, customer_id FROM call_record_enriched
               WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])
                 AND customer_id IS NOT NULL
               UNION
               SELECT * FROM unnest($3::text[], $4::text[]))
           SELECT p.user_id, p.customer_id, count(c.callid) AS calls,
                  count(c.callid) FILTER (WHERE c.call_status = 'connected') AS connected,
                  max(c.started_at) AS last_at
           FROM pairs p LEFT JOIN call_record_enriched c
             ON c.org_id = (SELECT $1::uuid)
             AND c.user_id = p.user_id AND c.customer_id = p.customer_id
           GROUP BY p.user_id, p.customer_id""",
        org_id, list(callids), [pair[0] for pair in pairs], [pair[1] for pair in pairs],
    )  # fmt: skip


async def without_contacts(
    tx: Transaction, org_id: UUID, users: Sequence[str], customers: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Those of the users and customers that no call connects to anyone."""
    lonely_users = await tx.fetch(
        """SELECT id FROM unnest($2::text[]) AS id WHERE NOT EXISTS (
               SELECT FROM call_record_enriched
               WHERE org_id = $1 AND user_id = id AND customer_id IS NOT NULL)""",
        org_id, list(users),
    )  # fmt: skip
    lonely_customers = await tx.fetch(
        """SELECT id FROM unnest($2::text[]) AS id WHERE NOT EXISTS (
               SELECT FROM call_record_enriched WHERE org_id = $1 AND customer_id = id)""",
        org_id, list(customers),
    )  # fmt: skip
    return [row["id"] for row in lonely_users], [row["id"] for row in lonely_customers]


async def contact_page(
    tx: Transaction, org_id: UUID, after: tuple[str, str], limit: int
) -> list[Row]:
    """The next (user, customer) pairs with what there is between them, in order."""
    return await tx.fetch(
        """SELECT user_id, customer_id, count(*) AS calls,
                  count(*) FILTER (WHERE call_status = 'connected') AS connected,
                  max(started_at) AS last_at
           FROM call_record_enriched
           WHERE org_id = $1 AND customer_id IS NOT NULL AND (user_id, customer_id) > ($2, $3)
           GROUP BY user_id, customer_id ORDER BY user_id, customer_id LIMIT $4""",
        org_id, *after, limit,
    )  # fmt: skip

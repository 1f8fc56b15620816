"""The queries of the analysis: what waits, who works on it, what came of it.

A claim is a row with a number and the ids of its calls, kept until its analyses are saved or its
lease is over. No call is locked meanwhile: an import may correct it. Saving looks for that.

Each call and transcript is looked for by its key, one after another, and so are they in
`ai_services/enrichment/store.py`: until the statistics know the calls of a new organisation, the
planner holds it for empty however large it is. It would join two tables by comparing each row with
each, or read all of its calls to find one. `(SELECT $1::uuid)` hides from it which organisation is
meant: it reckons with one like the others then, for which the key is the best way.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.data_access.ports import Row, Transaction

# Claims of an organisation are made one after another, so that none takes what another does.
_ONE_AT_A_TIME = """
SELECT pg_advisory_xact_lock(hashtextextended('analysis/' || $1::uuid::text, 0))
"""

# One that is being saved at this moment is left alone, and so are those of models (chain/store.py).
_END_EXPIRED = """
DELETE FROM analysis_claim WHERE org_id = $1 AND claim IN (
    SELECT claim FROM analysis_claim
    WHERE org_id = $1 AND NOT by_models AND lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED)
RETURNING claim
"""

# A row's xmin is the number of the transaction that wrote it: the version of the transcript. A call
# whose transcript was taken away by hand waits in vain, and holds nobody up; one that was corrected
# while models judge what it was before doesn't wait for them.
_FREE = """
SELECT c.callid, t.turns, t.version, c.call_date, c.duration_ms
FROM call_record_enriched c, LATERAL (
    SELECT turns, xmin AS version FROM call_transcript
    WHERE org_id = (SELECT $1::uuid) AND callid = c.callid OFFSET 0) t
WHERE c.org_id = (SELECT $1::uuid) AND c.has_transcript AND c.llm_analyzed_at IS NULL
  AND c.callid NOT IN (
      SELECT unnest(callids) FROM analysis_claim WHERE org_id = $1 AND NOT by_models)
ORDER BY c.callid LIMIT $2
"""

_CLAIM = """
INSERT INTO analysis_claim (org_id, callids, lease_until, by_models)
VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3), $4) RETURNING claim
"""

# An import locks a call before it looks at its transcript, whether it changes the call or not.
# Whoever holds the call therefore sees the transcript as it stays until the end of the transaction.
_HOLD = """
SELECT c.callid
FROM unnest($2::text[]) AS wanted (callid), LATERAL (
    SELECT callid, llm_analyzed_at FROM call_record_enriched
    WHERE org_id = (SELECT $1::uuid) AND callid = wanted.callid FOR NO KEY UPDATE) c
WHERE c.llm_analyzed_at IS NULL
"""

_VERSIONS = """
SELECT t.callid, t.version
FROM unnest($2::text[]) AS wanted (callid), LATERAL (
    SELECT callid, xmin AS version FROM call_transcript
    WHERE org_id = (SELECT $1::uuid) AND callid = wanted.callid OFFSET 0) t
"""

_SAVE = """
UPDATE call_record_enriched
SET sentiment = $3, sentiment_score = $4, complaint_risk = $5, churn_risk = $6, reason = $7,
    analyzer = $8, llm_analyzed_at = now(), updated_at = now()
WHERE org_id = (SELECT $1::uuid) AND callid = $2
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """`number` fences it; `over` are the claims that it put an end to.

    `calls` are (callid, turns, version, call_date, duration_ms).
    """

    number: int
    calls: Sequence[Row]
    over: Sequence[int]


async def claim(tx: Transaction, org_id: UUID, limit: int, lease: float) -> Claim | None:
    """Calls that nobody analyses, for `lease` seconds; None if there are none."""
    await one_at_a_time(tx, org_id)
    over = [row["claim"] for row in await tx.fetch(_END_EXPIRED, org_id)]
    calls = await tx.fetch(_FREE, org_id, limit)
    if not calls:
        return None
    number = await insert_claim(tx, org_id, [call["callid"] for call in calls], lease)
    return Claim(number, calls, over)


async def one_at_a_time(tx: Transaction, org_id: UUID) -> None:
    """Until the end of the transaction nobody else claims of this organisation."""
    await tx.fetchval(_ONE_AT_A_TIME, org_id)


async def insert_claim(
    tx: Transaction, org_id: UUID, callids: Sequence[str], lease: float, *, by_models: bool = False
) -> int:
    number: int = await tx.fetchval(_CLAIM, org_id, list(callids), lease, by_models)
    return number


async def renew_claim(tx: Transaction, org_id: UUID, number: int, lease: float) -> bool:
    """Another `lease` seconds from now; False if the claim is over."""
    renewed = await tx.execute(
        """UPDATE analysis_claim SET lease_until = clock_timestamp() + make_interval(secs => $3)
           WHERE org_id = $1 AND claim = $2""",
        org_id, number, lease,
    )  # fmt: skip
    return renewed > 0


async def end_claim(tx: Transaction, org_id: UUID, number: int) -> bool:
    """False if somebody else has put an end to it: then its analyses must not be saved."""
    ended = await tx.execute(
        "DELETE FROM analysis_claim WHERE org_id = $1 AND claim = $2", org_id, number
    )
    return ended > 0


async def save_analyses(
    tx: Transaction, org_id: UUID, rows: Sequence[tuple[Any, ...]]
) -> list[str]:
    """Rows of (callid, version, sentiment, score, complaint risk, churn risk, reason, analyzer).

    In the order of a claim. Returns the callids that were saved: those that still have this
    version of their transcript and no analysis.
    """
    held = [row["callid"] for row in await tx.fetch(_HOLD, org_id, [row[0] for row in rows])]
    there = await versions(tx, org_id, held)
    current = [row for row in rows if row[0] in there and there[row[0]] == row[1]]
    await write_analyses(tx, org_id, [(callid, *verdict) for callid, _, *verdict in current])
    return [row[0] for row in current]


async def versions(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> dict[str, Any]:
    """Callid → the version of its transcript; those that have none are left out."""
    rows = await tx.fetch(_VERSIONS, org_id, list(callids))
    return {row["callid"]: row["version"] for row in rows}


async def write_analyses(tx: Transaction, org_id: UUID, rows: Sequence[tuple[Any, ...]]) -> None:
    """Rows as of `save_analyses`, without the version, of calls that are locked."""
    await tx.executemany(_SAVE, [(org_id, *row) for row in rows])


async def organisations_to_analyse(tx: Transaction) -> list[UUID]:
    """Organisations with transcripts that no analyser has seen; needs a system transaction."""
    rows = await tx.fetch(
        """SELECT o.org_id FROM organisation o WHERE EXISTS (
               SELECT FROM call_record_enriched c
               WHERE c.org_id = o.org_id AND c.has_transcript AND c.llm_analyzed_at IS NULL)"""
    )
    return [row["org_id"] for row in rows]


async def count_unanalysed(tx: Transaction, org_id: UUID) -> int:
    """Transcripts that no analyser has seen, those being analysed right now too."""
    count: int = await tx.fetchval(
        """SELECT count(*) FROM call_record_enriched
           WHERE org_id = $1 AND has_transcript AND llm_analyzed_at IS NULL""",
        org_id,
    )
    return count


async def count_waiting(tx: Transaction, org_id: UUID) -> tuple[int, dt.datetime]:
    """As `count_unanalysed`, without those whose transcript was taken away; and the time of that."""
    row = await tx.fetchrow(
        """SELECT count(*) AS calls, now() AS at
           FROM call_record_enriched c, LATERAL (
               SELECT FROM call_transcript
               WHERE org_id = (SELECT $1::uuid) AND callid = c.callid OFFSET 0) t
           WHERE c.org_id = (SELECT $1::uuid) AND c.has_transcript AND c.llm_analyzed_at IS NULL""",
        org_id,
    )
    assert row is not None, "an aggregate without GROUP BY returns a row"
    return row["calls"], row["at"]


async def waits_since(tx: Transaction, org_id: UUID, before: dt.datetime) -> bool:
    """Whether a transcript that was there then still waits."""
    waits: bool = await tx.fetchval(
        """SELECT EXISTS (
               SELECT FROM call_record_enriched c, LATERAL (
                   SELECT updated_at FROM call_transcript
                   WHERE org_id = (SELECT $1::uuid) AND callid = c.callid OFFSET 0) t
               WHERE c.org_id = (SELECT $1::uuid) AND c.has_transcript
                 AND c.llm_analyzed_at IS NULL AND t.updated_at <= $2)""",
        org_id, before,
    )  # fmt: skip
    return waits


async def oldest_unanalysed(tx: Transaction) -> float:
    """Seconds since the oldest waiting transcript came in, 0 when none waits; system transaction."""
    age: float = await tx.fetchval(
        """SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8
           FROM call_record_enriched WHERE has_transcript AND llm_analyzed_at IS NULL"""
    )
    return age

"""The queries of corrections.

The tables of calls and insights have what holds: the corrected value where there is one, so that
whoever reads them needs to know nothing of corrections. What the analyser says instead is kept here.
Why it is `(SELECT $1::uuid)`: analysis/store.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from ai_services.enrichment.analysis.corrections.facts import FACTS, INSIGHT_FACTS
from shared.data_access.ports import Row, Transaction

Kind = Literal["corrected", "withdrawn"]

# Whoever changes a call or its analysis locks the call first.
_HOLD: Final = """
SELECT FROM call_record_enriched
WHERE org_id = (SELECT $1::uuid) AND callid = $2 FOR NO KEY UPDATE
"""
_IS_THERE: Final = """
SELECT EXISTS (SELECT FROM call_record_enriched WHERE org_id = (SELECT $1::uuid) AND callid = $2)
"""
_CURRENT: Final = """
SELECT c.callid, c.sentiment, c.sentiment_score, c.complaint_risk, c.churn_risk, c.reason,
       i.summary, i.topic, i.follow_up, coalesce(i.callbacks, '[]') AS callbacks, i.resolution,
       i.agent_quality, i.agent_quality_reason
FROM unnest($2::text[]) AS wanted (callid), LATERAL (
    SELECT * FROM call_record_enriched
    WHERE org_id = (SELECT $1::uuid) AND callid = wanted.callid OFFSET 0) c
LEFT JOIN LATERAL (
    SELECT * FROM call_insight
    WHERE org_id = (SELECT $1::uuid) AND callid = wanted.callid OFFSET 0) i ON true
"""
_LAY_ON_CALL: Final = """
UPDATE call_record_enriched AS c
SET (sentiment, sentiment_score, complaint_risk, churn_risk, reason) = (
        SELECT sentiment, sentiment_score, complaint_risk, churn_risk, reason
        FROM jsonb_populate_record(c, $3)),
    updated_at = now()
WHERE org_id = (SELECT $1::uuid) AND callid = $2
"""
_BEGIN_INSIGHT: Final = """
INSERT INTO call_insight (org_id, callid, step, degraded, waits)
VALUES ($1, $2, 'person', false, false) ON CONFLICT DO NOTHING
"""
_LAY_ON_INSIGHT: Final = """
UPDATE call_insight AS i
SET (summary, topic, follow_up, callbacks, resolution, agent_quality, agent_quality_reason) = (
        SELECT summary, topic, follow_up, callbacks, resolution, agent_quality,
               agent_quality_reason
        FROM jsonb_populate_record(i, $3)),
    updated_at = now()
WHERE org_id = (SELECT $1::uuid) AND callid = $2
"""
# It holds nothing but what people said.
_END_INSIGHT: Final = """
DELETE FROM call_insight WHERE org_id = (SELECT $1::uuid) AND callid = $2 AND step = 'person'
"""
_OF_CALLS: Final = """
SELECT callid, facts FROM call_correction
WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[]) AND facts <> '{}'
"""
_ONE: Final = """
SELECT version, facts, analysed, corrected_at, corrected_by FROM call_correction
WHERE org_id = (SELECT $1::uuid) AND callid = $2
"""
_WRITE: Final = """
INSERT INTO call_correction (org_id, callid, version, facts, analysed, corrected_at, corrected_by)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (org_id, callid) DO UPDATE SET version = excluded.version, facts = excluded.facts,
    analysed = excluded.analysed, corrected_at = excluded.corrected_at,
    corrected_by = excluded.corrected_by
"""
_NAME: Final = """
UPDATE call_record_enriched SET corrected = $3 WHERE org_id = (SELECT $1::uuid) AND callid = $2
"""
_WRITE_ANALYSED: Final = """
UPDATE call_correction SET analysed = $3 WHERE org_id = (SELECT $1::uuid) AND callid = $2
"""
_ADD: Final = """
INSERT INTO call_correction_entry (org_id, callid, version, kind, at, actor, reason, before, after)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING correction_id
"""
_ENTRIES: Final = """
SELECT version, correction_id, kind, at, actor, reason, before, after FROM call_correction_entry
WHERE org_id = (SELECT $1::uuid) AND callid = $2 AND ($3::integer IS NULL OR version < $3)
ORDER BY version DESC LIMIT $4
"""
_LABELLED: Final = """
SELECT k.callid, k.facts->>$2 AS label, t.turns FROM call_correction k, LATERAL (
    SELECT turns FROM call_transcript
    WHERE org_id = (SELECT $1::uuid) AND callid = k.callid OFFSET 0) t
WHERE k.org_id = (SELECT $1::uuid) AND k.facts->>$2 IS NOT NULL ORDER BY k.callid
"""


@dataclass(frozen=True, slots=True)
class Correction:
    """`facts` hold; `analysed` are the same facts as the analyser has them. Both {}: none."""

    version: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    analysed: Mapping[str, Any] = field(default_factory=dict)
    corrected_at: datetime | None = None
    corrected_by: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What one change made of which facts."""

    version: int
    correction_id: UUID
    kind: Kind
    at: datetime
    actor: str
    reason: str | None
    before: Mapping[str, Any]
    after: Mapping[str, Any]


async def hold(tx: Transaction, org_id: UUID, callid: str) -> bool:
    """Whether there is such a call; nobody else changes it, nor its analysis, until `tx` ends."""
    return await tx.fetchrow(_HOLD, org_id, callid) is not None


async def is_there(tx: Transaction, org_id: UUID, callid: str) -> bool:
    return bool(await tx.fetchval(_IS_THERE, org_id, callid))


async def current(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> dict[str, Row]:
    """Callid → its facts as they hold."""
    rows = await tx.fetch(_CURRENT, org_id, list(callids))
    return {row["callid"]: {fact: row[fact] for fact in FACTS} for row in rows}


async def lay(tx: Transaction, org_id: UUID, facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Let these facts of these calls hold, and leave their others alone."""
    ones = [(org_id, callid, dict(of_call)) for callid, of_call in facts.items()]
    said = [one for one in ones if one[2].keys() & set(INSIGHT_FACTS)]
    await tx.executemany(_LAY_ON_CALL, ones)
    if said:
        await tx.executemany(_BEGIN_INSIGHT, [one[:2] for one in said])
        await tx.executemany(_LAY_ON_INSIGHT, said)


async def end_insight(tx: Transaction, org_id: UUID, callid: str) -> None:
    """Unless an analyser has made it."""
    await tx.execute(_END_INSIGHT, org_id, callid)


async def of_calls(
    tx: Transaction, org_id: UUID, callids: Sequence[str]
) -> dict[str, Mapping[str, Any]]:
    """Callid → its corrected facts; those without are left out."""
    rows = await tx.fetch(_OF_CALLS, org_id, list(callids))
    return {row["callid"]: row["facts"] for row in rows}


async def get(tx: Transaction, org_id: UUID, callid: str) -> Correction:
    row = await tx.fetchrow(_ONE, org_id, callid)
    return Correction() if row is None else Correction(**row)


async def write(tx: Transaction, org_id: UUID, callid: str, one: Correction) -> None:
    await tx.execute(
        _WRITE, org_id, callid, one.version, dict(one.facts), dict(one.analysed),
        one.corrected_at, one.corrected_by,
    )  # fmt: skip
    await tx.execute(_NAME, org_id, callid, sorted(one.facts))


async def write_analysed(
    tx: Transaction, org_id: UUID, analysed: Mapping[str, Mapping[str, Any]]
) -> None:
    """Callid → what the analyser says now of its corrected facts."""
    await tx.executemany(
        _WRITE_ANALYSED, [(org_id, callid, dict(facts)) for callid, facts in analysed.items()]
    )


async def add(
    tx: Transaction,
    org_id: UUID,
    callid: str,
    now: Correction,
    kind: Kind,
    reason: str | None,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> UUID:
    """To the history, as the entry of that version."""
    entry: UUID = await tx.fetchval(
        _ADD, org_id, callid, now.version, kind, now.corrected_at, now.corrected_by, reason,
        dict(before), dict(after),
    )  # fmt: skip
    return entry


async def entries(
    tx: Transaction, org_id: UUID, callid: str, before: int | None, limit: int
) -> list[Entry]:
    """Newest first, of versions before that one."""
    rows = await tx.fetch(_ENTRIES, org_id, callid, before, limit)
    return [Entry(**row) for row in rows]


async def labelled(tx: Transaction, org_id: UUID, fact: str) -> list[Row]:
    """(callid, label, turns) of calls of which a person has decided this fact, by callid."""
    return await tx.fetch(_LABELLED, org_id, fact)

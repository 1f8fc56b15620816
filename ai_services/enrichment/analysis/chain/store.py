"""The queries of the chain: insights, kept verdicts, requests under way, dead letters, settings.

Calls are claimed, renewed and given back as analysis/store.py does; why it is `(SELECT $1::uuid)`
stands there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

from ai_services.enrichment.analysis import store as claims
from ai_services.enrichment.analysis.store import Claim
from shared.data_access.ports import Row, Transaction

# Those of a batch wait for its answer (backfill_store.py).
_IN_NO_BATCH: Final = """NOT EXISTS (
    SELECT FROM analysis_backfill_call b
    WHERE b.org_id = (SELECT $1::uuid) AND b.callid = w.callid AND b.since >= w.updated_at)"""

# A call whose transcript was taken away by hand waits in vain, and holds nobody up.
_READY: Final = """LATERAL (
    SELECT turns, xmin AS version FROM call_transcript
    WHERE org_id = (SELECT $1::uuid) AND callid = i.callid OFFSET 0) t, LATERAL (
    SELECT call_date, duration_ms FROM call_record_enriched
    WHERE org_id = (SELECT $1::uuid) AND callid = i.callid AND llm_analyzed_at IS NOT NULL
    OFFSET 0) c
"""

_WAITING: Final = f"""
SELECT i.callid, t.turns, t.version, c.call_date, c.duration_ms
FROM (
    SELECT callid FROM call_insight w
    WHERE org_id = (SELECT $1::uuid) AND waits AND callid <> ALL($3::text[]) AND {_IN_NO_BATCH}
      AND callid NOT IN (
          SELECT unnest(callids) FROM analysis_claim WHERE org_id = $1 AND by_models)
    ORDER BY callid) i, {_READY}
ORDER BY i.callid LIMIT $2
"""  # noqa: S608 - constants only

_LEFT_BEHIND: Final = f"""
SELECT i.callid, t.turns, t.version, c.call_date, c.duration_ms
FROM unnest($2::text[]) AS wanted (name), LATERAL (
    SELECT callid FROM call_insight w
    WHERE org_id = (SELECT $1::uuid) AND callid = wanted.name AND waits AND {_IN_NO_BATCH}
    OFFSET 0) i, {_READY}
"""  # noqa: S608 - constants only

_WAITED_BEFORE: Final = f"""
SELECT count(*) FROM (
    SELECT callid FROM call_insight w
    WHERE org_id = (SELECT $1::uuid) AND waits AND updated_at <= $2 AND {_IN_NO_BATCH}
    OFFSET 0) i, {_READY}
"""  # noqa: S608 - constants only

# The oldest, alone: what it had under way is put together again in one claim.
_TAKE_OVER: Final = """
DELETE FROM analysis_claim WHERE org_id = $1 AND claim = (
    SELECT claim FROM analysis_claim
    WHERE org_id = $1 AND by_models AND lease_until < clock_timestamp()
    ORDER BY claim LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING claim, callids
"""

# In the order of callids, as imports and erasures lock them. An erasure waits until what was kept of a
# call is there to be deleted, too.
_HOLD: Final = """
SELECT callid FROM call_record_enriched
WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[]) ORDER BY callid FOR KEY SHARE
"""

_HOLD_WAITING: Final = """
SELECT c.callid
FROM unnest($2::text[]) AS wanted (callid), LATERAL (
    SELECT callid FROM call_record_enriched
    WHERE org_id = (SELECT $1::uuid) AND callid = wanted.callid AND llm_analyzed_at IS NOT NULL
    FOR NO KEY UPDATE) c, LATERAL (
    SELECT FROM call_insight
    WHERE org_id = (SELECT $1::uuid) AND callid = wanted.callid AND waits OFFSET 0) i
"""

_SAVE_INSIGHTS: Final = """
INSERT INTO call_insight (
    org_id, callid, step, degraded, waits, confidence, evidence, summary, topic, follow_up,
    callbacks, resolution, agent_quality, agent_quality_reason, talk_ratio, silence_ratio,
    interruptions, script_missing, script_forbidden)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
ON CONFLICT (org_id, callid) DO UPDATE SET
    step = excluded.step, degraded = excluded.degraded, waits = excluded.waits,
    confidence = excluded.confidence, evidence = excluded.evidence, summary = excluded.summary,
    topic = excluded.topic, follow_up = excluded.follow_up, callbacks = excluded.callbacks,
    resolution = excluded.resolution, agent_quality = excluded.agent_quality,
    agent_quality_reason = excluded.agent_quality_reason, talk_ratio = excluded.talk_ratio,
    silence_ratio = excluded.silence_ratio, interruptions = excluded.interruptions,
    script_missing = excluded.script_missing, script_forbidden = excluded.script_forbidden,
    updated_at = now()
"""
# The call has it too, for portraits: few calls are another write for it.
_MARK_DEGRADED: Final = """
UPDATE call_record_enriched c SET degraded = said.degraded
FROM unnest($2::text[], $3::boolean[]) AS said (callid, degraded)
WHERE c.org_id = (SELECT $1::uuid) AND c.callid = said.callid AND c.degraded <> said.degraded
"""


# The calls that wait for a model.


async def claim(tx: Transaction, org_id: UUID, limit: int, lease: float) -> Claim | None:
    """Calls that wait for a model and that nobody works on; None if there are none.

    What a killed process had claimed comes first, so that its requests can be put together again.
    """
    await claims.one_at_a_time(tx, org_id)
    over: list[Row] = []
    calls: list[Row] = []
    while not calls and (left := await tx.fetchrow(_TAKE_OVER, org_id)) is not None:
        over.append(left)
        calls = await tx.fetch(_LEFT_BEHIND, org_id, left["callids"])
    if len(calls) < limit:
        taken = [call["callid"] for call in calls]
        calls += await tx.fetch(_WAITING, org_id, limit - len(calls), taken)
    if not calls:
        return None
    callids = [call["callid"] for call in calls]
    number = await claims.insert_claim(tx, org_id, callids, lease, by_models=True)
    return Claim(number, calls, [row["claim"] for row in over])


async def hold(tx: Transaction, org_id: UUID, callids: Collection[str]) -> list[str]:
    """Those of the calls that are there, and stay until the end of the transaction."""
    return [row["callid"] for row in await tx.fetch(_HOLD, org_id, list(callids))]


async def still_waiting(
    tx: Transaction, org_id: UUID, calls: Sequence[tuple[str, Any]]
) -> list[str]:
    """Of (callid, version), those that still wait, with this transcript; locked until the end."""
    rows = await tx.fetch(_HOLD_WAITING, org_id, sorted(callid for callid, _ in calls))
    versions = await claims.versions(tx, org_id, [row["callid"] for row in rows])
    return [callid for callid, version in calls if versions.get(callid) == version]


async def organisations_waiting(tx: Transaction) -> list[UUID]:
    """Organisations with calls that wait for a model; needs a system transaction."""
    rows = await tx.fetch(
        """SELECT o.org_id FROM organisation o
           WHERE EXISTS (SELECT FROM call_insight i WHERE i.org_id = o.org_id AND i.waits)"""
    )
    return [row["org_id"] for row in rows]


async def count_waiting(tx: Transaction) -> int:
    """Of the tenant, or of all in a system transaction."""
    number: int = await tx.fetchval("SELECT count(*) FROM call_insight WHERE waits")
    return number


async def waited_before(tx: Transaction, org_id: UUID, before: dt.datetime) -> int:
    """How many calls wait for a model since before that time, without those of a batch.

    And without those that have no transcript any more.
    """
    number: int = await tx.fetchval(_WAITED_BEFORE, org_id, before)
    return number


# Insights.


async def save_insights(tx: Transaction, rows: Sequence[tuple[Any, ...]]) -> None:
    """Rows of (org_id, callid, step, …) in the order of the table, of one organisation's locked calls."""
    await tx.executemany(_SAVE_INSIGHTS, rows)
    if rows:
        callids, degraded = [row[1] for row in rows], [row[3] for row in rows]
        await tx.execute(_MARK_DEGRADED, rows[0][0], callids, degraded)


async def stop_waiting(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> None:
    await tx.execute(
        """UPDATE call_insight SET waits = false, updated_at = now()
           WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])""",
        org_id, list(callids),
    )  # fmt: skip


async def forget(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> None:
    """What was said of transcripts that are others now."""
    for statement in (
        """DELETE FROM call_insight
           WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])""",
        """DELETE FROM analysis_dead_letter
           WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])""",
    ):
        await tx.execute(statement, org_id, list(callids))


async def insight(tx: Transaction, org_id: UUID, callid: str) -> Row | None:
    return await tx.fetchrow(
        """SELECT step, degraded, waits, confidence, evidence, summary, topic, follow_up, callbacks,
                  resolution, agent_quality, agent_quality_reason, talk_ratio, silence_ratio,
                  interruptions, script_missing, script_forbidden
           FROM call_insight WHERE org_id = (SELECT $1::uuid) AND callid = $2""",
        org_id, callid,
    )  # fmt: skip


async def shares(tx: Transaction, org_id: UUID) -> dict[str, int]:
    """How many calls each step of the chain has judged, of those that are there."""
    rows = await tx.fetch(
        """SELECT step, count(*) AS calls FROM call_insight
           WHERE org_id = (SELECT $1::uuid) GROUP BY step""",
        org_id,
    )
    return {row["step"]: row["calls"] for row in rows}


# Kept verdicts.


async def cached(tx: Transaction, org_id: UUID, digests: Sequence[bytes]) -> dict[bytes, Any]:
    rows = await tx.fetch(
        """SELECT digest, verdict FROM unnest($2::bytea[]) AS wanted (name), LATERAL (
               SELECT digest, verdict FROM analysis_cache
               WHERE org_id = (SELECT $1::uuid) AND digest = wanted.name OFFSET 0) v""",
        org_id, list(digests),
    )  # fmt: skip
    return {row["digest"]: row["verdict"] for row in rows}


async def keep(tx: Transaction, org_id: UUID, verdicts: Sequence[tuple[bytes, Any]]) -> None:
    await tx.executemany(
        """INSERT INTO analysis_cache (org_id, digest, verdict) VALUES ($1, $2, $3)
           ON CONFLICT DO NOTHING""",
        [(org_id, digest, verdict) for digest, verdict in verdicts],
    )


# Requests under way.


async def requests_with(tx: Transaction, org_id: UUID, digests: Sequence[bytes]) -> list[Row]:
    """(request, claim, digests, alive) of those that hold any of these, oldest first."""
    return await tx.fetch(
        """SELECT r.request, r.claim, r.digests, EXISTS (
               SELECT FROM analysis_claim c WHERE c.org_id = r.org_id AND c.claim = r.claim
           ) AS alive
           FROM analysis_request r
           WHERE r.org_id = $1 AND r.digests && $2::bytea[] ORDER BY r.created_at, r.request""",
        org_id, list(digests),
    )  # fmt: skip


async def begin_requests(
    tx: Transaction, org_id: UUID, claim: int, packs: Sequence[tuple[bytes, list[bytes]]]
) -> None:
    """Packs of (name, digests) that this claim asks; those that are there become its own."""
    await tx.executemany(
        """INSERT INTO analysis_request (org_id, claim, request, digests) VALUES ($1, $2, $3, $4)
           ON CONFLICT (org_id, request) DO UPDATE SET claim = excluded.claim""",
        [(org_id, claim, name, digests) for name, digests in packs],
    )


async def end_requests(tx: Transaction, org_id: UUID, names: Sequence[bytes]) -> None:
    await tx.execute(
        "DELETE FROM analysis_request WHERE org_id = $1 AND request = ANY($2::bytea[])",
        org_id, list(names),
    )  # fmt: skip


# Dead letters.


async def bury(tx: Transaction, org_id: UUID, letters: Sequence[tuple[str, str, str, str]]) -> None:
    """Letters of (callid, reason, detail, analyzer)."""
    await tx.executemany(
        """INSERT INTO analysis_dead_letter (org_id, callid, reason, detail, analyzer)
           VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (org_id, callid) DO UPDATE SET reason = excluded.reason,
               detail = excluded.detail, analyzer = excluded.analyzer, failed_at = now()""",
        [(org_id, *letter) for letter in letters],
    )


async def dead_letters(
    tx: Transaction, org_id: UUID, limit: int, before: tuple[dt.datetime, str] | None
) -> list[Row]:
    """Newest first, those before the cursor (failed_at, callid)."""
    return await tx.fetch(
        """SELECT callid, reason, detail, analyzer, failed_at FROM analysis_dead_letter
           WHERE org_id = $1 AND ($3::timestamptz IS NULL OR (failed_at, callid) < ($3, $4::text))
           ORDER BY failed_at DESC, callid DESC LIMIT $2""",
        org_id, limit, *(before or (None, None)),
    )  # fmt: skip


async def replay(tx: Transaction, org_id: UUID, callids: Sequence[str] | None) -> int:
    """Let these dead letters, or all, wait for a model again; how many there were."""
    replayed = await tx.fetch(
        """WITH dead AS (
               DELETE FROM analysis_dead_letter
               WHERE org_id = $1 AND ($2::text[] IS NULL OR callid = ANY($2)) RETURNING callid)
           UPDATE call_insight i SET waits = true, updated_at = now()
           FROM dead WHERE i.org_id = $1 AND i.callid = dead.callid RETURNING i.callid""",
        org_id, None if callids is None else list(callids),
    )  # fmt: skip
    return len(replayed)


async def count_dead(tx: Transaction) -> int:
    """Of the tenant, or of all in a system transaction."""
    number: int = await tx.fetchval("SELECT count(*) FROM analysis_dead_letter")
    return number


# Settings of an organisation.


async def read_settings(tx: Transaction, org_id: UUID) -> Row | None:
    return await tx.fetchrow(
        "SELECT topics, must_say, must_not_say FROM analysis_setting WHERE org_id = $1", org_id
    )


async def write_settings(
    tx: Transaction,
    org_id: UUID,
    topics: Sequence[str],
    must_say: Sequence[str],
    must_not_say: Sequence[str],
) -> None:
    await tx.execute(
        """INSERT INTO analysis_setting (org_id, topics, must_say, must_not_say)
           VALUES ($1, $2, $3, $4)
           ON CONFLICT (org_id) DO UPDATE SET topics = excluded.topics,
               must_say = excluded.must_say, must_not_say = excluded.must_not_say,
               updated_at = now()""",
        org_id, list(topics), list(must_say), list(must_not_say),
    )  # fmt: skip


# Upkeep.


async def sweep(tx: Transaction, days: int) -> int:
    """Forget verdicts and requests older than this; how many; needs a system transaction."""
    gone = await tx.execute(
        "DELETE FROM analysis_cache WHERE created_at < now() - make_interval(days => $1)", days
    )
    gone += await tx.execute(
        "DELETE FROM analysis_request WHERE created_at < now() - interval '1 day'"
    )
    return gone

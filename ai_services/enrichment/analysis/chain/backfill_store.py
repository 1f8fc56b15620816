"""The queries of batches: which are under way, what each asks, and which calls wait for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from shared.data_access.ports import Row, Transaction

# Why it is `(SELECT $1::uuid)` and one look-up after another: ai_services/enrichment/analysis/store.py.
_FREE: Final = """
SELECT callid FROM call_insight w
WHERE org_id = (SELECT $1::uuid) AND waits AND callid > $2
  AND callid NOT IN (SELECT unnest(callids) FROM analysis_claim WHERE org_id = $1)
  AND NOT EXISTS (
    SELECT FROM analysis_backfill_call b
    WHERE b.org_id = (SELECT $1::uuid) AND b.callid = w.callid AND b.since >= w.updated_at)
ORDER BY callid LIMIT $3
"""

_TURNS: Final = """
SELECT t.callid, t.turns FROM unnest($2::text[]) AS wanted (callid), LATERAL (
    SELECT callid, turns FROM call_transcript
    WHERE org_id = (SELECT $1::uuid) AND callid = wanted.callid OFFSET 0) t
"""

_HOLD: Final = """
UPDATE analysis_backfill SET held_until = clock_timestamp() + $2 * interval '1 second'
WHERE org_id = $1 AND backfill IN (
    SELECT backfill FROM analysis_backfill
    WHERE org_id = $1 AND held_until <= clock_timestamp() FOR UPDATE SKIP LOCKED)
RETURNING backfill, packs, file, batch
"""


async def free(tx: Transaction, org_id: UUID, after: str, at_most: int) -> list[str]:
    """Calls that wait for a model, and for no batch, and nobody works on, in their order."""
    return [row["callid"] for row in await tx.fetch(_FREE, org_id, after, at_most)]


async def turns(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> dict[str, Any]:
    rows = await tx.fetch(_TURNS, org_id, list(callids))
    return {row["callid"]: row["turns"] for row in rows}


async def count(tx: Transaction, org_id: UUID) -> int:
    number: int = await tx.fetchval(
        "SELECT count(*) FROM analysis_backfill WHERE org_id = $1", org_id
    )
    return number


async def begin(
    tx: Transaction, org_id: UUID, backfill: UUID, callids: Sequence[str], held_s: float
) -> None:
    """These calls wait for it, from now on."""
    await tx.execute(
        """INSERT INTO analysis_backfill (org_id, backfill, held_until)
           VALUES ($1, $2, clock_timestamp() + $3 * interval '1 second')""",
        org_id, backfill, held_s,
    )  # fmt: skip
    await tx.execute(
        """INSERT INTO analysis_backfill_call (org_id, callid, backfill)
           SELECT $1, unnest($3::text[]), $2
           ON CONFLICT (org_id, callid) DO UPDATE
               SET backfill = excluded.backfill, since = excluded.since""",
        org_id, backfill, list(callids),
    )  # fmt: skip


async def ready(
    tx: Transaction,
    org_id: UUID,
    backfill: UUID,
    packs: Mapping[str, Mapping[str, str]],
    file: str,
) -> bool:
    """Its file is with the llm service: a batch may be made of it. False: others took it for dead."""
    ready = await tx.execute(
        "UPDATE analysis_backfill SET packs = $3, file = $4 WHERE org_id = $1 AND backfill = $2",
        org_id, backfill, packs, file,
    )  # fmt: skip
    return ready == 1


async def made(tx: Transaction, org_id: UUID, backfill: UUID, batch: str) -> None:
    await tx.execute(
        "UPDATE analysis_backfill SET batch = $3 WHERE org_id = $1 AND backfill = $2",
        org_id, backfill, batch,
    )  # fmt: skip


async def hold(tx: Transaction, org_id: UUID, held_s: float) -> list[Row]:
    """(backfill, packs, file, batch) of those that nobody looks after: that is ours now."""
    return await tx.fetch(_HOLD, org_id, held_s)


async def let_go(tx: Transaction, org_id: UUID, backfill: UUID, after_s: float) -> None:
    """Others may look after it, after so many seconds."""
    await tx.execute(
        """UPDATE analysis_backfill SET held_until = clock_timestamp() + $3 * interval '1 second'
           WHERE org_id = $1 AND backfill = $2""",
        org_id, backfill, after_s,
    )  # fmt: skip


async def calls(tx: Transaction, org_id: UUID, backfill: UUID) -> list[str]:
    """Those that wait for it and are still there."""
    rows = await tx.fetch(
        "SELECT callid FROM analysis_backfill_call WHERE org_id = $1 AND backfill = $2",
        org_id, backfill,
    )  # fmt: skip
    return [row["callid"] for row in rows]


async def end(tx: Transaction, org_id: UUID, backfill: UUID) -> None:
    """Its calls wait for it no longer."""
    await tx.execute(
        "DELETE FROM analysis_backfill WHERE org_id = $1 AND backfill = $2", org_id, backfill
    )

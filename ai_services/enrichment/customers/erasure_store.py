"""The queries of erasures: what goes, what is told of it, who stays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from ai_services.enrichment.customers.digests import Kind
from ai_services.enrichment.deleting.store import Gone
from shared.data_access.ports import Row, Transaction

_COLUMNS: Final = """erasure_id, kind, digest, subject, job_id, requested_at, requested_by, finished_at,
    calls, transcripts, rejects, customers, first_day, last_day, hash"""
_BEGIN: Final = f"""
INSERT INTO erasure (org_id, kind, digest, subject, requested_by, customers)
VALUES ($1, $2, $3, $4, $5, $6) RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_OF_ID: Final = f"""
SELECT {_COLUMNS} FROM erasure WHERE org_id = $1 AND erasure_id = (
    SELECT erasure_id FROM erased_id WHERE org_id = $1 AND digest = $2)
"""  # noqa: S608 - constants only
_ONE: Final = f"""
SELECT {_COLUMNS} FROM erasure WHERE org_id = $1 AND erasure_id = $2
"""  # noqa: S608 - constants only
_LOCKED: Final = f"{_ONE} FOR UPDATE"
_UNDER_WAY: Final = """
SELECT EXISTS (SELECT FROM erasure
               WHERE org_id = $1 AND subject = ANY($2::text[]) AND finished_at IS NULL)
"""
_COUNT_CALLS: Final = """
SELECT count(*) FROM (
    SELECT FROM call_record_enriched
    WHERE org_id = $1 AND customer_id = ANY($2::text[]) LIMIT $3) AS counted
"""
_CALLIDS: Final = """
SELECT callid FROM call_record_enriched WHERE org_id = $1 AND customer_id = ANY($2::text[])
ORDER BY callid LIMIT $3
"""
# In the order of callids, as imports and analyses lock them.
_NEXT_CALLS: Final = f"{_CALLIDS} FOR UPDATE"
_FORGET_VERDICTS: Final = "DELETE FROM analysis_cache WHERE org_id = $1"
_ADD: Final = """
UPDATE erasure SET calls = calls + $3, transcripts = transcripts + $4, rejects = rejects + $5,
    first_day = least(first_day, $6), last_day = greatest(last_day, $7)
WHERE org_id = $1 AND erasure_id = $2
"""
_GIVE_TO_JOB: Final = "UPDATE erasure SET job_id = $3 WHERE org_id = $1 AND erasure_id = $2"
_FINISH: Final = f"""
UPDATE erasure SET finished_at = $3, hash = $4, subject = NULL
WHERE org_id = $1 AND erasure_id = $2 RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_REMEMBER: Final = """
INSERT INTO erased_id (org_id, erasure_id, digest, kept_out) SELECT $1, $2, digest, $4
FROM unnest($3::bytea[]) AS digest
ON CONFLICT (org_id, digest)
    DO UPDATE SET erasure_id = EXCLUDED.erasure_id, kept_out = EXCLUDED.kept_out
"""
_KEPT_OUT: Final = """
SELECT digest FROM erased_id WHERE org_id = $1 AND digest = ANY($2::bytea[]) AND kept_out
"""
_KEEPS_OUT: Final = "SELECT EXISTS (SELECT FROM erased_id WHERE org_id = $1 AND kept_out)"
_LET_IN: Final = """
UPDATE erased_id SET kept_out = false WHERE org_id = $1 AND erasure_id = $2 AND kept_out
"""


@dataclass(frozen=True, slots=True)
class Erasure:
    """`subject` is the id while it is under way. `hash` and `finished_at` None: it isn't over."""

    erasure_id: UUID
    kind: Kind
    digest: bytes
    subject: str | None
    job_id: int | None
    requested_at: datetime
    requested_by: str
    finished_at: datetime | None
    calls: int
    transcripts: int
    rejects: int
    customers: int
    first_day: date | None
    last_day: date | None
    hash: str | None


async def begin(
    tx: Transaction,
    org_id: UUID,
    kind: Kind,
    digest: bytes,
    subject: str,
    *,
    actor: str,
    customers: int,
) -> Erasure:
    row = await tx.fetchrow(_BEGIN, org_id, kind, digest, subject, actor, customers)
    assert row is not None  # an insert without a conflict clause returns its row
    return Erasure(**row)


async def of_id(tx: Transaction, org_id: UUID, digest: bytes) -> Erasure | None:
    """The last erasure of whose id has this digest."""
    return _erasure(await tx.fetchrow(_OF_ID, org_id, digest))


async def get(tx: Transaction, org_id: UUID, erasure_id: UUID) -> Erasure | None:
    return _erasure(await tx.fetchrow(_ONE, org_id, erasure_id))


async def lock(tx: Transaction, org_id: UUID, erasure_id: UUID) -> Erasure | None:
    """`get` of what nobody else changes until `tx` ends."""
    return _erasure(await tx.fetchrow(_LOCKED, org_id, erasure_id))


async def is_under_way(tx: Transaction, org_id: UUID, subjects: Sequence[str]) -> bool:
    return bool(await tx.fetchval(_UNDER_WAY, org_id, list(subjects)))


async def count_calls(tx: Transaction, org_id: UUID, customers: Sequence[str], most: int) -> int:
    """Of those under these customers, `most` at most."""
    count: int = await tx.fetchval(_COUNT_CALLS, org_id, list(customers), most)
    return count


async def callids(tx: Transaction, org_id: UUID, customers: Sequence[str], limit: int) -> list[str]:
    """The next calls under these customers."""
    rows = await tx.fetch(_CALLIDS, org_id, list(customers), limit)
    return [row["callid"] for row in rows]


async def next_calls(
    tx: Transaction, org_id: UUID, customers: Sequence[str], limit: int
) -> list[str]:
    """`callids`; nobody else changes them until `tx` ends."""
    rows = await tx.fetch(_NEXT_CALLS, org_id, list(customers), limit)
    return [row["callid"] for row in rows]


async def forget_verdicts(tx: Transaction, org_id: UUID) -> None:
    """What models said is kept by a digest of the words, and tells of no call whose they were."""
    await tx.execute(_FORGET_VERDICTS, org_id)


async def add(
    tx: Transaction, org_id: UUID, erasure_id: UUID, gone: Sequence[Gone], rejects: int
) -> None:
    """What a step has deleted."""
    days = [one.call_date for one in gone]
    await tx.execute(
        _ADD, org_id, erasure_id, len(gone), sum(one.has_transcript for one in gone), rejects,
        min(days, default=None), max(days, default=None),
    )  # fmt: skip


async def give_to_job(tx: Transaction, org_id: UUID, erasure_id: UUID, job_id: int) -> None:
    await tx.execute(_GIVE_TO_JOB, org_id, erasure_id, job_id)


async def finish(
    tx: Transaction, org_id: UUID, erasure_id: UUID, at: datetime, receipt_hash: str
) -> Erasure:
    row = await tx.fetchrow(_FINISH, org_id, erasure_id, at, receipt_hash)
    assert row is not None  # it is locked
    return Erasure(**row)


async def remember(
    tx: Transaction, org_id: UUID, erasure_id: UUID, digests: Sequence[bytes], *, kept_out: bool
) -> None:
    """The ids that it erases; `kept_out`: nothing of theirs is brought in any more."""
    await tx.execute(_REMEMBER, org_id, erasure_id, list(digests), kept_out)


async def kept_out(tx: Transaction, org_id: UUID, digests: Sequence[bytes]) -> set[bytes]:
    """Those of the digests that stay out."""
    return {row["digest"] for row in await tx.fetch(_KEPT_OUT, org_id, list(digests))}


async def keeps_out(tx: Transaction, org_id: UUID) -> bool:
    """Whether anything stays out at all."""
    return bool(await tx.fetchval(_KEEPS_OUT, org_id))


async def let_in(tx: Transaction, org_id: UUID, erasure_id: UUID) -> int:
    """Let what this erasure keeps out be brought in again; how many ids that are."""
    return await tx.execute(_LET_IN, org_id, erasure_id)


def _erasure(row: Row | None) -> Erasure | None:
    return None if row is None else Erasure(**row)

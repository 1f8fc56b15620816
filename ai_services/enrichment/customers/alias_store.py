"""The queries about customers who are one: the tree of merges, its tops, the calls that move.

`customer_alias` has for each merged customer the one at the top; a call's `customer_id` is that one, or,
while calls are being moved, one that stands under it; `given_customer_id` what its source says where
that is another. All who change the tree take
turns, and imports, which read it, wait for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from shared.data_access.ports import Row, Transaction

_LOCK: Final = "hashtextextended('customers/' || $1::uuid::text, 0)"
_EXCLUDE: Final = f"SELECT pg_advisory_xact_lock({_LOCK})"
_SHARE: Final = f"SELECT pg_advisory_xact_lock_shared({_LOCK})"
_TOP: Final = """
SELECT coalesce((SELECT survivor FROM customer_alias WHERE org_id = $1 AND customer_id = $2), $2)
"""
_BELOW: Final = """
WITH RECURSIVE below AS (
    SELECT $2::text COLLATE "C" AS customer_id
    UNION
    SELECT m.customer_id FROM below b
    JOIN customer_merge m ON m.org_id = $1 AND m.into_id = b.customer_id AND m.split_at IS NULL)
SELECT customer_id FROM below ORDER BY customer_id
"""
_IS_KNOWN: Final = """
SELECT EXISTS (SELECT FROM call_record_enriched WHERE org_id = $1 AND customer_id = $2)
    OR EXISTS (SELECT FROM customer_merge WHERE org_id = $1 AND (customer_id = $2 OR into_id = $2))
"""
_PLACE: Final = """
INSERT INTO customer_alias (org_id, customer_id, survivor)
SELECT $1, customer_id, $3 FROM unnest($2::text[]) AS customer_id WHERE customer_id <> $3
ON CONFLICT (org_id, customer_id) DO UPDATE SET survivor = EXCLUDED.survivor
"""
_TAKE_OUT: Final = "DELETE FROM customer_alias WHERE org_id = $1 AND customer_id = $2"
# In the order of callids, as imports and analyses lock them.
_MOVE: Final = """
WITH moving AS (
    SELECT callid, customer_id FROM call_record_enriched
    WHERE org_id = $1 AND customer_id = $2
      AND ($4::text[] IS NULL OR coalesce(given_customer_id, customer_id) = ANY($4))
    ORDER BY callid LIMIT $5 FOR UPDATE)
UPDATE call_record_enriched c SET customer_id = $3, updated_at = now(),
    given_customer_id = nullif(coalesce(c.given_customer_id, c.customer_id), $3),
    moved_from = ARRAY[c.user_id, c.customer_id, to_char(c.call_date, 'YYYY-MM-DD')]
FROM moving WHERE c.org_id = $1 AND c.callid = moving.callid
RETURNING c.callid, c.user_id, c.call_date
"""
_COUNT: Final = """
SELECT count(*) FROM call_record_enriched WHERE org_id = $1 AND customer_id = ANY($2::text[])
  AND ($3::text[] IS NULL OR coalesce(given_customer_id, customer_id) = ANY($3))
"""
_MERGES: Final = "merge_id, customer_id, into_id, calls, merged_at, merged_by, split_at, split_by"
_INSERT: Final = f"""
INSERT INTO customer_merge (org_id, customer_id, into_id, calls, merged_by)
VALUES ($1, $2, $3, $4, $5) RETURNING {_MERGES}
"""  # noqa: S608 - constants only
_ACTIVE: Final = f"""
SELECT {_MERGES} FROM customer_merge WHERE org_id = $1 AND customer_id = $2 AND split_at IS NULL
"""  # noqa: S608 - constants only
_ONE: Final = f"""
SELECT {_MERGES} FROM customer_merge WHERE org_id = $1 AND merge_id = $2
"""  # noqa: S608 - constants only
_SPLIT: Final = f"""
UPDATE customer_merge SET split_at = clock_timestamp(), split_by = $3
WHERE org_id = $1 AND merge_id = $2 AND split_at IS NULL RETURNING {_MERGES}
"""  # noqa: S608 - constants only
_HISTORY: Final = f"""
SELECT {_MERGES} FROM customer_merge
WHERE org_id = $1 AND (customer_id = ANY($2::text[]) OR into_id = ANY($2::text[]))
  AND ($3::timestamptz IS NULL OR (merged_at, merge_id) < ($3, $4::uuid))
ORDER BY merged_at DESC, merge_id DESC LIMIT $5
"""  # noqa: S608 - constants only
_FORGET_ALIASES: Final = """
DELETE FROM customer_alias WHERE org_id = $1 AND customer_id = ANY($2::text[])
"""
_FORGET_MERGES: Final = """
DELETE FROM customer_merge
WHERE org_id = $1 AND (customer_id = ANY($2::text[]) OR into_id = ANY($2::text[]))
"""


@dataclass(frozen=True, slots=True)
class Merge:
    """`calls` moved with it; `split_at` and `split_by`: when and by whom it was undone."""

    merge_id: UUID
    customer_id: str
    into_id: str
    calls: int
    merged_at: datetime
    merged_by: str
    split_at: datetime | None
    split_by: str | None


@dataclass(frozen=True, slots=True)
class Moved:
    """A call that is another customer's now."""

    callid: str
    user_id: str
    call_date: date


async def exclude_others(tx: Transaction, org_id: UUID) -> None:
    """Let nobody else change the tree, or bring calls in, until `tx` ends.

    Batches of imports under way are waited for; StoreUnavailable after 25 s.
    """
    await tx.execute("SET LOCAL lock_timeout = '25s'")
    await tx.execute(_EXCLUDE, org_id)


async def exclude_changes(tx: Transaction, org_id: UUID) -> None:
    """Let nobody change the tree until `tx` ends."""
    await tx.execute(_SHARE, org_id)


async def top(tx: Transaction, org_id: UUID, customer_id: str) -> str:
    """Under whom the customer's calls are: itself, unless it was merged."""
    found: str = await tx.fetchval(_TOP, org_id, customer_id)
    return found


async def below(tx: Transaction, org_id: UUID, customer_id: str) -> list[str]:
    """The customer and all who were merged into it, or into one of those."""
    return [row["customer_id"] for row in await tx.fetch(_BELOW, org_id, customer_id)]


async def is_known(tx: Transaction, org_id: UUID, customer_id: str) -> bool:
    """Whether there is a call of it, or it is named in a merge."""
    return bool(await tx.fetchval(_IS_KNOWN, org_id, customer_id))


async def place(tx: Transaction, org_id: UUID, customers: Sequence[str], survivor: str) -> None:
    """From now on their calls land with `survivor`, which may be one of them."""
    await tx.execute(_PLACE, org_id, list(customers), survivor)
    await tx.execute(_TAKE_OUT, org_id, survivor)


async def move_calls(
    tx: Transaction,
    org_id: UUID,
    of: str,
    to: str,
    given: Sequence[str] | None = None,
    *,
    limit: int,
) -> list[Moved]:
    """The next calls of the customer `of` become those of `to`; only those that sources give as `given`'s."""
    rows = await tx.fetch(_MOVE, org_id, of, to, None if given is None else list(given), limit)
    return [Moved(**row) for row in rows]


async def count_calls(
    tx: Transaction, org_id: UUID, customers: Sequence[str], given: Sequence[str] | None = None
) -> int:
    """Those under these customers; only those that sources give as `given`'s."""
    wanted = None if given is None else list(given)
    count: int = await tx.fetchval(_COUNT, org_id, list(customers), wanted)
    return count


async def insert(
    tx: Transaction, org_id: UUID, customer_id: str, into_id: str, calls: int, actor: str
) -> Merge:
    row = await tx.fetchrow(_INSERT, org_id, customer_id, into_id, calls, actor)
    assert row is not None  # an insert without a conflict clause returns its row
    return _merge(row)


async def active(tx: Transaction, org_id: UUID, customer_id: str) -> Merge | None:
    """The merge of this customer that was not undone."""
    row = await tx.fetchrow(_ACTIVE, org_id, customer_id)
    return None if row is None else _merge(row)


async def get(tx: Transaction, org_id: UUID, merge_id: UUID) -> Merge | None:
    row = await tx.fetchrow(_ONE, org_id, merge_id)
    return None if row is None else _merge(row)


async def split(tx: Transaction, org_id: UUID, merge_id: UUID, actor: str) -> Merge | None:
    """Mark it as undone; None if it is so already."""
    row = await tx.fetchrow(_SPLIT, org_id, merge_id, actor)
    return None if row is None else _merge(row)


async def history(
    tx: Transaction,
    org_id: UUID,
    customers: Sequence[str],
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Merge]:
    """Merges that any of these had a part in, newest first."""
    rows = await tx.fetch(_HISTORY, org_id, list(customers), *(before or (None, None)), limit)
    return [_merge(row) for row in rows]


async def forget(tx: Transaction, org_id: UUID, customers: Sequence[str]) -> None:
    """Every merge that these had a part in."""
    await tx.execute(_FORGET_ALIASES, org_id, list(customers))
    await tx.execute(_FORGET_MERGES, org_id, list(customers))


def _merge(row: Row) -> Merge:
    return Merge(**row)

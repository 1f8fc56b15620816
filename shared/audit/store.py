"""Queries of the audit log."""

from __future__ import annotations

from uuid import UUID

from shared.audit.chain import Anchor, Entry, Link
from shared.data_access.ports import Row, Transaction

_LAST = 2**63 - 1


async def lock(tx: Transaction, org_id: UUID) -> Anchor:
    """The end of the chain, which nobody else can extend until the transaction ends."""
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"looma-audit:{org_id}"
    )
    return await head(tx, org_id)


async def head(tx: Transaction, org_id: UUID) -> Anchor:
    row = await tx.fetchrow("SELECT seq, hash FROM audit_head WHERE org_id = $1", org_id)
    return Anchor() if row is None else Anchor(row["seq"], row["hash"])


async def append(tx: Transaction, entry: Entry, prev_hash: bytes, new_hash: bytes) -> None:
    await tx.execute(
        """INSERT INTO audit_log
               (org_id, seq, at, actor, action, target, details, prev_hash, hash)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)""",
        entry.org_id,
        entry.seq,
        entry.at,
        entry.actor,
        entry.action,
        entry.target,
        entry.details,
        prev_hash,
        new_hash,
    )


async def entries_before(tx: Transaction, org_id: UUID, seq: int | None, limit: int) -> list[Entry]:
    """Newest first, below `seq` if given."""
    rows = await tx.fetch(
        """SELECT seq, at, actor, action, target, details FROM audit_log
            WHERE org_id = $1 AND seq < $2
            ORDER BY seq DESC LIMIT $3""",
        org_id,
        _LAST if seq is None else seq,
        limit,
    )
    return [_entry(org_id, row) for row in rows]


async def links_after(tx: Transaction, org_id: UUID, seq: int, limit: int) -> list[Link]:
    """Entries with their hashes in the order of the chain, above `seq`."""
    rows = await tx.fetch(
        """SELECT seq, at, actor, action, target, details, prev_hash, hash FROM audit_log
            WHERE org_id = $1 AND seq > $2 ORDER BY seq LIMIT $3""",
        org_id,
        seq,
        limit,
    )
    return [Link(_entry(org_id, row), row["prev_hash"], row["hash"]) for row in rows]


def _entry(org_id: UUID, row: Row) -> Entry:
    return Entry(
        org_id,
        row["seq"],
        row["at"],
        row["actor"],
        row["action"],
        row["target"],
        row["details"],
    )

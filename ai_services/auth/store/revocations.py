"""Queries of revocations: what ended before its tokens expire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.data_access.ports import Transaction


@dataclass(frozen=True, slots=True)
class Revocation:
    """`subject` is `session:<family_id>` or `key:<key_id>`; after `expires_at` nothing of it lives."""

    org_id: UUID
    subject: str
    revoked_at: datetime
    expires_at: datetime


async def insert(tx: Transaction, revocations: Sequence[Revocation]) -> int:
    """Write those that are new; their number."""
    return await tx.execute(
        """INSERT INTO revocation (org_id, subject, revoked_at, expires_at)
           SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[])
           ON CONFLICT DO NOTHING""",
        [r.org_id for r in revocations],
        [r.subject for r in revocations],
        [r.revoked_at for r in revocations],
        [r.expires_at for r in revocations],
    )


async def listing(
    tx: Transaction,
    *,
    after: tuple[datetime, str],
    now: datetime,
    limit: int,
) -> list[Revocation]:
    """Those of all organisations after (revoked_at, subject) that still matter, oldest first."""
    rows = await tx.fetch(
        """SELECT org_id, subject, revoked_at, expires_at FROM revocation
           WHERE expires_at > $1 AND (revoked_at, subject) > ($2, $3)
           ORDER BY revoked_at, subject LIMIT $4""",
        now,
        *after,
        limit,
    )
    return [Revocation(**row) for row in rows]

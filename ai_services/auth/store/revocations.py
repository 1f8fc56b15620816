"""Queries of revocations: what ended before its tokens expire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.data_access.ports import Transaction


@dataclass(frozen=True, slots=True)
class Revocation:
    """What gateways must forget: `subject` is `session:<family_id>`, which has ended, or
    `key:<key_id>`, which has ended or counts for something else now, so that they ask again.
    After `expires_at` nothing of it is alive, or remembered.
    """

    org_id: UUID
    subject: str
    revoked_at: datetime
    expires_at: datetime


async def insert(tx: Transaction, revocations: Sequence[Revocation]) -> list[Revocation]:
    """Write them; as written. Of one that is there the time moves on, whatever the clock says, so
    that gateways hear of it again.
    """
    rows = await tx.fetch(
        """INSERT INTO revocation (org_id, subject, revoked_at, expires_at)
           SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[])
           ON CONFLICT (org_id, subject) DO UPDATE
               SET revoked_at = greatest(revocation.revoked_at + interval '1 microsecond',
                                         EXCLUDED.revoked_at),
                   expires_at = greatest(revocation.expires_at, EXCLUDED.expires_at)
           RETURNING org_id, subject, revoked_at, expires_at""",
        [r.org_id for r in revocations],
        [r.subject for r in revocations],
        [r.revoked_at for r in revocations],
        [r.expires_at for r in revocations],
    )
    return [Revocation(**row) for row in rows]


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


async def exists(tx: Transaction, org_id: UUID, subject: str) -> bool:
    return bool(
        await tx.fetchval(
            "SELECT EXISTS (SELECT FROM revocation WHERE org_id = $1 AND subject = $2)",
            org_id,
            subject,
        )
    )

"""Queries of refresh tokens. A session is a family: all rotations of one sign-in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.data_access.ports import Transaction


@dataclass(frozen=True, slots=True)
class RefreshToken:
    org_id: UUID
    user_id: UUID
    family_id: UUID
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


async def insert(
    tx: Transaction,
    org_id: UUID,
    user_id: UUID,
    *,
    token_hash: bytes,
    family_id: UUID,
    issued_at: datetime,
    expires_at: datetime,
) -> None:
    await tx.execute(
        """INSERT INTO refresh_token
               (org_id, token_hash, family_id, user_id, issued_at, expires_at)
           VALUES ($1, $2, $3, $4, $5, $6)""",
        org_id,
        token_hash,
        family_id,
        user_id,
        issued_at,
        expires_at,
    )


async def find(tx: Transaction, token_hash: bytes) -> RefreshToken | None:
    row = await tx.fetchrow(
        """SELECT org_id, user_id, family_id, expires_at, used_at, revoked_at
           FROM refresh_token WHERE token_hash = $1""",
        token_hash,
    )
    return None if row is None else RefreshToken(**row)


async def mark_used(tx: Transaction, token_hash: bytes, at: datetime) -> None:
    await tx.execute("UPDATE refresh_token SET used_at = $2 WHERE token_hash = $1", token_hash, at)


async def revoke_family(tx: Transaction, org_id: UUID, family_id: UUID, at: datetime) -> None:
    await tx.execute(
        """UPDATE refresh_token SET revoked_at = $3
           WHERE org_id = $1 AND family_id = $2 AND revoked_at IS NULL""",
        org_id,
        family_id,
        at,
    )


async def revoke_families_of(
    tx: Transaction, org_id: UUID, user_id: UUID, at: datetime, *, spare: Sequence[UUID] = ()
) -> list[UUID]:
    """Revoke every session of a user but those in `spare`; the ids of those that were alive."""
    rows = await tx.fetch(
        """WITH ended AS (
               UPDATE refresh_token SET revoked_at = $3
               WHERE org_id = $1 AND user_id = $2 AND revoked_at IS NULL
                 AND family_id <> ALL($4::uuid[])
               RETURNING family_id, used_at, expires_at)
           SELECT DISTINCT family_id FROM ended WHERE used_at IS NULL AND expires_at > $3""",
        org_id,
        user_id,
        at,
        list(spare),
    )
    return [row["family_id"] for row in rows]

"""Queries of API keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.cursor import EPOCH
from shared.data_access.ports import Row, Transaction
from shared.security import Role


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A machine client's key; of the secret itself only `prefix`, its first characters, is kept."""

    org_id: UUID
    key_id: UUID
    name: str
    role: Role
    prefix: str
    created_by: UUID | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: Row) -> ApiKey:
        return cls(**{name: row[name] for name in cls.__slots__})

    @property
    def subject(self) -> str:
        return f"key:{self.key_id}"


async def insert(
    tx: Transaction,
    org_id: UUID,
    *,
    name: str,
    role: str,
    secret_hash: bytes,
    prefix: str,
    created_by: UUID | None,
    at: datetime,
    expires_at: datetime | None,
    idempotency_key: str | None,
) -> ApiKey | None:
    """The new key; None if the idempotency key was used before."""
    row = await tx.fetchrow(
        """INSERT INTO api_key (org_id, name, role, secret_hash, prefix, created_by, created_at,
                                expires_at, idempotency_key)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
           ON CONFLICT (org_id, idempotency_key) DO NOTHING RETURNING *""",
        org_id,
        name,
        role,
        secret_hash,
        prefix,
        created_by,
        at,
        expires_at,
        idempotency_key,
    )
    return None if row is None else ApiKey.of(row)


async def by_idempotency_key(tx: Transaction, org_id: UUID, key: str) -> ApiKey | None:
    row = await tx.fetchrow(
        "SELECT * FROM api_key WHERE org_id = $1 AND idempotency_key = $2", org_id, key
    )
    return None if row is None else ApiKey.of(row)


async def listing(
    tx: Transaction, org_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> list[ApiKey]:
    """Oldest first, revoked ones too, those after (created_at, key_id)."""
    at, key_id = after or (EPOCH, UUID(int=0))
    rows = await tx.fetch(
        """SELECT * FROM api_key
           WHERE org_id = $1 AND (created_at, key_id) > ($2, $3)
           ORDER BY created_at, key_id LIMIT $4""",
        org_id,
        at,
        key_id,
        limit,
    )
    return [ApiKey.of(row) for row in rows]


async def lock(tx: Transaction, org_id: UUID, key_id: UUID) -> ApiKey | None:
    row = await tx.fetchrow(
        "SELECT * FROM api_key WHERE org_id = $1 AND key_id = $2 FOR NO KEY UPDATE", org_id, key_id
    )
    return None if row is None else ApiKey.of(row)


async def revoke(tx: Transaction, key: ApiKey, at: datetime) -> None:
    await tx.execute(
        "UPDATE api_key SET revoked_at = $3 WHERE org_id = $1 AND key_id = $2",
        key.org_id,
        key.key_id,
        at,
    )


async def by_secret(tx: Transaction, secret_hash: bytes, now: datetime) -> ApiKey | None:
    """The key with this SHA-256, unless it is revoked or expired."""
    row = await tx.fetchrow(
        """SELECT * FROM api_key
           WHERE secret_hash = $1 AND revoked_at IS NULL
             AND (expires_at IS NULL OR expires_at > $2)""",
        secret_hash,
        now,
    )
    return None if row is None else ApiKey.of(row)

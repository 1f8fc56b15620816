"""Queries of API keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from shared.cursor import EPOCH
from shared.data_access.ports import Row, Transaction
from shared.security import Role, lesser_role

_COLUMNS: Final = """api_key.*, (
    SELECT app_user.role FROM app_user WHERE app_user.org_id = api_key.org_id
       AND app_user.user_id = api_key.owner_id AND NOT app_user.disabled) AS owner_role"""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A machine client's key; of the secret itself only `prefix`, its first characters, is kept.

    `owner_id` is the user whose key it is, None for the organisation's own. `owner_role` is what
    that user is now; None for one who is gone or disabled, and for the organisation.
    `made_by_key` is the key that made this one, if one did.
    """

    org_id: UUID
    key_id: UUID
    name: str
    role: Role
    prefix: str
    created_by: UUID | None
    owner_id: UUID | None
    owner_role: Role | None
    made_by_key: UUID | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: Row) -> ApiKey:
        return cls(**{name: row[name] for name in cls.__slots__})

    @property
    def subject(self) -> str:
        return f"key:{self.key_id}"

    @property
    def role_now(self) -> Role | None:
        """What it counts for: never more than its owner does now; None if it has ended."""
        if self.revoked_at is not None or (self.owner_id is not None and self.owner_role is None):
            return None
        return self.role if self.owner_role is None else lesser_role(self.role, self.owner_role)

    def lives(self, now: datetime) -> bool:
        return self.role_now is not None and (self.expires_at is None or self.expires_at > now)


async def insert(
    tx: Transaction,
    org_id: UUID,
    *,
    name: str,
    role: str,
    secret_hash: bytes,
    prefix: str,
    created_by: UUID | None,
    owner_id: UUID | None,
    made_by_key: UUID | None,
    at: datetime,
    expires_at: datetime | None,
    idempotency_key: str | None,
) -> ApiKey | None:
    """The new key; None if the idempotency key was used before."""
    row = await tx.fetchrow(
        f"""WITH api_key AS (
               INSERT INTO api_key (org_id, name, role, secret_hash, prefix, created_by, created_at,
                                    expires_at, idempotency_key, owner_id, made_by_key)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
               ON CONFLICT (org_id, idempotency_key) DO NOTHING RETURNING *)
           SELECT {_COLUMNS} FROM api_key""",  # noqa: S608 - a constant
        org_id,
        name,
        role,
        secret_hash,
        prefix,
        created_by,
        at,
        expires_at,
        idempotency_key,
        owner_id,
        made_by_key,
    )
    return None if row is None else ApiKey.of(row)


async def listing(
    tx: Transaction, org_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> list[ApiKey]:
    """Oldest first, revoked ones too, those after (created_at, key_id)."""
    at, key_id = after or (EPOCH, UUID(int=0))
    rows = await tx.fetch(
        f"""SELECT {_COLUMNS} FROM api_key
           WHERE org_id = $1 AND (created_at, key_id) > ($2, $3)
           ORDER BY created_at, key_id LIMIT $4""",  # noqa: S608 - a constant
        org_id,
        at,
        key_id,
        limit,
    )
    return [ApiKey.of(row) for row in rows]


async def lock(tx: Transaction, org_id: UUID, key_id: UUID) -> ApiKey | None:
    row = await tx.fetchrow(
        f"""SELECT {_COLUMNS} FROM api_key
           WHERE org_id = $1 AND key_id = $2 FOR NO KEY UPDATE OF api_key""",  # noqa: S608 - a constant
        org_id,
        key_id,
    )
    return None if row is None else ApiKey.of(row)


async def living_of(tx: Transaction, org_id: UUID, owner_id: UUID) -> list[ApiKey]:
    """The keys of a user that were not revoked."""
    rows = await tx.fetch(
        f"""SELECT {_COLUMNS} FROM api_key
           WHERE org_id = $1 AND owner_id = $2 AND revoked_at IS NULL
           ORDER BY created_at, key_id""",  # noqa: S608 - a constant
        org_id,
        owner_id,
    )
    return [ApiKey.of(row) for row in rows]


async def living_from(tx: Transaction, org_id: UUID, key_id: UUID) -> list[ApiKey]:
    """The keys that this one made, that those made, and so on, that were not revoked."""
    rows = await tx.fetch(
        f"""WITH RECURSIVE made AS (
               SELECT key_id FROM api_key WHERE org_id = $1 AND made_by_key = $2
               UNION
               SELECT k.key_id FROM api_key k JOIN made ON k.made_by_key = made.key_id
                WHERE k.org_id = $1)
           SELECT {_COLUMNS} FROM api_key
            WHERE org_id = $1 AND key_id IN (SELECT key_id FROM made) AND revoked_at IS NULL
            ORDER BY created_at, key_id""",  # noqa: S608 - a constant
        org_id,
        key_id,
    )
    return [ApiKey.of(row) for row in rows]


async def revoke(tx: Transaction, org_id: UUID, keys: Sequence[ApiKey], at: datetime) -> None:
    await tx.execute(
        "UPDATE api_key SET revoked_at = $3 WHERE org_id = $1 AND key_id = ANY($2::uuid[])",
        org_id,
        [key.key_id for key in keys],
        at,
    )


async def give_to_organisation(tx: Transaction, key: ApiKey, role: Role) -> None:
    await tx.execute(
        "UPDATE api_key SET owner_id = NULL, role = $3 WHERE org_id = $1 AND key_id = $2",
        key.org_id,
        key.key_id,
        role,
    )


async def by_secret(tx: Transaction, secret_hash: bytes) -> ApiKey | None:
    """The key with this SHA-256, ended or not."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM api_key WHERE secret_hash = $1",  # noqa: S608 - a constant
        secret_hash,
    )
    return None if row is None else ApiKey.of(row)


async def expiring(tx: Transaction, now: datetime, within: timedelta, made_for: timedelta) -> int:
    """How many living keys end by then, of those that were made to live longer than `made_for`."""
    count: int = await tx.fetchval(
        """SELECT count(*) FROM api_key WHERE revoked_at IS NULL
              AND expires_at > $1 AND expires_at <= $2 AND expires_at - created_at > $3""",
        now,
        now + within,
        made_for,
    )
    return count

"""Queries of users."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from ai_services.auth.user import User
from shared.cursor import EPOCH
from shared.data_access.ports import Row, Transaction


async def insert(
    tx: Transaction,
    org_id: UUID,
    *,
    email: str,
    name: str,
    role: str,
    password_hash: str,
    at: datetime,
    idempotency_key: str | None = None,
) -> User | None:
    """The new user; None if the e-mail address or the idempotency key is taken."""
    row = await tx.fetchrow(
        """INSERT INTO app_user (org_id, email, name, role, password_hash, created_at, updated_at,
                                  idempotency_key)
            VALUES ($1, $2, $3, $4, $5, $6, $6, $7)
            ON CONFLICT DO NOTHING RETURNING *""",
        org_id,
        email,
        name,
        role,
        password_hash,
        at,
        idempotency_key,
    )
    return _user(row)


async def by_email(tx: Transaction, email: str) -> User | None:
    return _user(await tx.fetchrow("SELECT * FROM app_user WHERE email = $1", email))


async def by_id(tx: Transaction, org_id: UUID, user_id: UUID) -> User | None:
    row = await tx.fetchrow(
        "SELECT * FROM app_user WHERE org_id = $1 AND user_id = $2",
        org_id,
        user_id,
    )
    return _user(row)


async def by_idempotency_key(tx: Transaction, org_id: UUID, key: str) -> User | None:
    row = await tx.fetchrow(
        "SELECT * FROM app_user WHERE org_id = $1 AND idempotency_key = $2",
        org_id,
        key,
    )
    return _user(row)


async def lock(tx: Transaction, org_id: UUID, user_id: UUID) -> User | None:
    """The user, whose sessions nobody else can change until the transaction ends."""
    row = await tx.fetchrow(
        """SELECT * FROM app_user WHERE org_id = $1 AND user_id = $2
            FOR NO KEY UPDATE""",
        org_id,
        user_id,
    )
    return _user(row)


async def listing(
    tx: Transaction, org_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> list[User]:
    """Oldest first, those after (created_at, user_id)."""
    at, user_id = after or (EPOCH, UUID(int=0))
    rows = await tx.fetch(
        """SELECT * FROM app_user
            WHERE org_id = $1 AND (created_at, user_id) > ($2, $3)
            ORDER BY created_at, user_id LIMIT $4""",
        org_id,
        at,
        user_id,
        limit,
    )
    return [User.of(row) for row in rows]


async def update(
    tx: Transaction, user: User, *, name: str, role: str, disabled: bool, at: datetime
) -> User | None:
    row = await tx.fetchrow(
        """UPDATE app_user SET name = $3, role = $4, disabled = $5, updated_at = $6
            WHERE org_id = $1 AND user_id = $2 RETURNING *""",
        user.org_id,
        user.user_id,
        name,
        role,
        disabled,
        at,
    )
    return _user(row)


async def set_password(tx: Transaction, user: User, password_hash: str, at: datetime) -> None:
    await tx.execute(
        """UPDATE app_user SET password_hash = $3, updated_at = $4
           WHERE org_id = $1 AND user_id = $2""",
        user.org_id,
        user.user_id,
        password_hash,
        at,
    )


async def delete(tx: Transaction, user: User) -> None:
    await tx.execute(
        "DELETE FROM app_user WHERE org_id = $1 AND user_id = $2", user.org_id, user.user_id
    )


async def first_admin(tx: Transaction, org_id: UUID) -> str | None:
    """The e-mail address of the admin who is there longest; None if nobody is one."""
    email: str | None = await tx.fetchval(
        """SELECT email FROM app_user WHERE org_id = $1 AND role = 'admin' AND NOT disabled
           ORDER BY created_at LIMIT 1""",
        org_id,
    )
    return email


async def other_admin_exists(tx: Transaction, user: User) -> bool:
    """Whether an admin who may sign in remains without `user`."""
    return bool(
        await tx.fetchval(
            """SELECT EXISTS (SELECT FROM app_user WHERE org_id = $1 AND user_id <> $2
                              AND role = 'admin' AND NOT disabled)""",
            user.org_id,
            user.user_id,
        )
    )


def _user(row: Row | None) -> User | None:
    return None if row is None else User.of(row)

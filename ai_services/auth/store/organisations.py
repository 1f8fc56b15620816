"""Queries of organisations."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from shared.data_access.ports import Row, Transaction


async def insert(tx: Transaction, slug: str, name: str, timezone: str, at: datetime) -> UUID | None:
    """The new organisation's id; None if the slug is taken."""
    org_id: UUID | None = await tx.fetchval(
        """INSERT INTO organisation (slug, name, timezone, created_at) VALUES ($1, $2, $3, $4)
           ON CONFLICT (slug) DO NOTHING RETURNING org_id""",
        slug,
        name,
        timezone,
        at,
    )
    return org_id


async def find(tx: Transaction, org_id: UUID) -> Row | None:
    return await tx.fetchrow(
        "SELECT org_id, slug, name, timezone FROM organisation WHERE org_id = $1", org_id
    )


async def listing(tx: Transaction) -> list[Row]:
    """All of them by slug; needs a system transaction."""
    return await tx.fetch("SELECT org_id, slug, name, timezone FROM organisation ORDER BY slug")


async def oldest(tx: Transaction, limit: int) -> list[Row]:
    """The ids and slugs of so many; needs a system transaction."""
    return await tx.fetch(
        "SELECT org_id, slug FROM organisation ORDER BY created_at, org_id LIMIT $1", limit
    )


async def id_of(tx: Transaction, slug: str) -> UUID | None:
    org_id: UUID | None = await tx.fetchval("SELECT org_id FROM organisation WHERE slug = $1", slug)
    return org_id


async def lock(tx: Transaction, org_id: UUID) -> None:
    """Let only one transaction at a time decide about this organisation's admins."""
    await tx.execute("SELECT 1 FROM organisation WHERE org_id = $1 FOR NO KEY UPDATE", org_id)


async def lock_first_start(tx: Transaction) -> None:
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('looma-first-start', 0))")


async def any_exists(tx: Transaction) -> bool:
    return bool(await tx.fetchval("SELECT EXISTS (SELECT FROM organisation)"))
